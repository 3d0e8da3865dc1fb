"""``text-transform``: one operation on one text, v1's ``llm-forge:text-transform``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.executors.functions import normalize, regex_extract, truncate
from airflow_llm_provider.executors.llm import OptionalText

__all__ = ["TextTransform", "TextTransformInputs"]


class TextTransformInputs(Inputs):
    """Which operation on which text.

    Attributes:
        operation: ``normalize`` white space, ``truncate``, give the rendered ``template``, or ``extract`` by ``pattern``.
        prompt: The text; ``text`` is another name for it.
        text: The text.
        max_length: Most characters, for ``truncate``.
        template: The text to give, for ``template``.
        pattern: Regular expression, for ``extract``.
    """

    operation: Literal["normalize", "truncate", "template", "extract"] = "normalize"
    prompt: OptionalText = None
    text: OptionalText = None
    max_length: int | None = Field(default=None, ge=1)
    template: OptionalText = None
    pattern: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"truncate": "max_length", "template": "template", "extract": "pattern"}.get(self.operation)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"operation {self.operation!r} needs {needed!r}")
        if self.prompt is not None and self.text is not None:
            raise ValueError("'prompt' and 'text' mean the same; give one")
        return self


class TextTransform(Executor[TextTransformInputs]):
    """One operation on one text."""

    outputs: ClassVar[tuple[str, ...]] = ("text",)
    Inputs = TextTransformInputs

    @classmethod
    def gives_text(cls, inputs: Mapping[str, Any]) -> bool:
        """Say that it always does."""
        return True

    async def run(self, inputs: TextTransformInputs, context: StepContext) -> Mapping[str, Any]:
        """Do the operation."""
        text = inputs.prompt if inputs.prompt is not None else inputs.text or ""
        match inputs.operation:
            case "truncate":
                return {"text": truncate(text, max_length=inputs.max_length or len(text))}
            case "template":
                return {"text": inputs.template}
            case "extract":
                return {"text": regex_extract(text, pattern=inputs.pattern or "")}
        return {"text": normalize(text)}

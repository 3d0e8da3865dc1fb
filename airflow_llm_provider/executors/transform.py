"""``transform``: reshape values without asking anybody."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.executors.functions import FUNCTIONS

__all__ = ["JSONPath", "Transform", "TransformInputs"]

FunctionName = Literal[
    "merge", "concat", "filter", "map", "pick", "template", "split", "join", "chunk", "json_parse", "json_path",
    "regex_extract", "truncate", "normalize", "sort", "unique", "flatten",
]  # fmt: skip


def _json_path(value: str) -> str:
    # Only a file with a path in it needs the library that reads them.
    from airflow_llm_provider.executors.json_paths import Query

    Query(value)
    return value


JSONPath = Annotated[str, AfterValidator(_json_path)]
"""A text that is a JSONPath."""


class TransformInputs(Inputs):
    """Which function, on what, with which settings.

    Attributes:
        function: The function's name.
        inputs: Its input values.
        key: Member to look at (``filter map pick sort unique``).
        value: What the member must equal (``filter``).
        fields: Members to keep (``pick``).
        separator: Between parts (``concat split join``).
        template: What to give (``template``).
        size: Characters or items a piece (``chunk``).
        overlap: Characters or items that neighbouring pieces share (``chunk``).
        path: JSONPath of what is wanted (``json_path``).
        first: Whether the first value found is enough (``json_path``).
        default: What to give when nothing is found (``json_path``).
        pattern: Regular expression (``regex_extract``).
        group: Number or name of the group wanted (``regex_extract``).
        max_length: Most characters (``truncate``).
        suffix: Marks a cut (``truncate``).
        lowercase: Whether to lower the case too (``normalize``).
        reverse: Whether the largest comes first (``sort``).
    """

    function: FunctionName
    inputs: list[Any] = Field(default_factory=list)
    key: str | None = None
    value: Any = None
    fields: list[str] | None = None
    separator: str | None = None
    template: Any = None
    size: int | None = Field(default=None, ge=1)
    overlap: int | None = Field(default=None, ge=0)
    path: JSONPath | None = None
    first: bool | None = None
    default: Any = None
    pattern: str | None = None
    group: int | str | None = None
    max_length: int | None = Field(default=None, ge=1)
    suffix: str | None = None
    lowercase: bool | None = None
    reverse: bool | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the file gives besides the function and its values."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"function", "inputs"}}

    @model_validator(mode="after")
    def _fits_the_function(self) -> Self:
        parameters = inspect.signature(FUNCTIONS[self.function]).parameters
        taken = {name: parameter for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
        values = [parameter for parameter in parameters.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        problems = [
            f"{name!r} is not for function {self.function!r}, which takes {', '.join(taken) or 'no settings'}"
            for name in sorted(self.settings.keys() - taken.keys())
        ]
        problems += [
            f"function {self.function!r} needs {name!r}"
            for name, parameter in taken.items()
            if parameter.default is parameter.empty and name not in self.settings
        ]
        if values and len(self.inputs) != len(values):
            problems.append(
                f"function {self.function!r} takes exactly {len(values)} of 'inputs', got {len(self.inputs)}"
            )
        elif not values and not self.inputs and self.function != "template":
            problems.append(f"function {self.function!r} needs 'inputs'")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Transform(Executor[TransformInputs]):
    """One function on some values."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = TransformInputs

    async def run(self, inputs: TransformInputs, context: StepContext) -> Mapping[str, Any]:
        """Call the function."""
        try:
            return {"result": FUNCTIONS[inputs.function](*inputs.inputs, **inputs.settings)}
        except TypeError as error:
            raise InvalidRequest(f"transform {inputs.function!r} cannot work on these values: {error}") from error

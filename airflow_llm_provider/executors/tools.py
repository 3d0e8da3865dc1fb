"""``llm-forge:tool:<name>``: a function that an installed package offers to workflows, called with the step's inputs.

To add one: write a function with annotated parameters, and register it under the entry point group ``airflow_llm_provider.tools``::

    [project.entry-points."airflow_llm_provider.tools"]
    "acme-lookup" = "acme.tools:lookup"

What it is given is checked against its annotations; what it gives must be JSON.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationError, validate_call

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.registry import Registry
from airflow_llm_provider.workflow.values import to_text

__all__ = ["TOOLS", "Tool", "ToolInputs", "format_responses"]

TOOLS = Registry("airflow_llm_provider.tools", "tool")
"""The tools of all installed packages."""


class ToolInputs(Inputs):
    """Which tool, with what.

    Attributes:
        tool: The tool's name.
        parameters: Its parameters.
    """

    tool: str = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)


class Tool(Executor[ToolInputs]):
    """Calls a tool."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = ToolInputs

    async def run(self, inputs: ToolInputs, context: StepContext) -> Mapping[str, Any]:
        """Call it; one that is not async runs in a thread.

        Raises:
            ConfigurationError: No installed package has a tool of that name.
            InvalidRequest: The parameters do not fit it.
        """
        function = TOOLS.find(inputs.tool)
        try:
            checked = validate_call(config=ConfigDict(coerce_numbers_to_str=True))(function)
            if inspect.iscoroutinefunction(function):
                return {"result": await checked(**inputs.parameters)}
            return {"result": await asyncio.to_thread(checked, **inputs.parameters)}
        except ValidationError as error:
            told = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            )
            raise InvalidRequest(f"tool {inputs.tool!r} cannot work on these parameters: {told}") from None


def format_responses(
    *, responses: Sequence[Mapping[str, Any]], style: Literal["markdown", "text"] = "markdown", title: str | None = None
) -> str:
    """``response-formatter``: put the answers of several models under each other.

    Args:
        responses: Objects with ``model`` and ``text``; ``name`` and ``response`` are other names for them.
        style: Whether names become Markdown headings or lines of their own.
        title: Stands above all.
    """
    marked = style == "markdown"
    parts = [f"# {title}" if marked else title] if title else []
    for number, response in enumerate(responses, 1):
        name = to_text(response.get("model", response.get("name"))) or f"Response {number}"
        text = to_text(response.get("text", response.get("response"))).strip()
        parts.append(f"## {name}\n\n{text}" if marked else f"{name}:\n{text}")
    return "\n\n".join(parts)

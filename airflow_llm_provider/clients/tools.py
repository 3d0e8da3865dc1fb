"""Tools in OpenAI's words, which Cohere speaks as well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_llm_provider.clients.base import Message, Tool, ToolCall
from airflow_llm_provider.errors import InvalidOutput

__all__ = ["function", "message_fields", "read_calls"]


def function(tool: Tool) -> dict[str, Any]:
    """Write a tool.

    Args:
        tool: The tool.
    """
    described = {} if tool.description is None else {"description": tool.description}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": tool.parameters}}


def message_fields(message: Message) -> dict[str, Any]:
    """Write a message.

    Args:
        message: The message.
    """
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def read_calls(given: Iterable[Mapping[str, Any]] | None) -> tuple[ToolCall, ...]:
    """Read what a model asks for.

    Args:
        given: The calls of an answer.

    Raises:
        InvalidOutput: Arguments are no JSON object.
    """
    calls = []
    for call in given or ():
        asked = call["function"]
        try:
            arguments = json.loads(asked.get("arguments") or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            raise InvalidOutput(
                f"the arguments for {asked['name']!r} are no JSON object: {asked.get('arguments')!r}"[:300]
            )
        calls.append(ToolCall(call["id"], asked["name"], arguments))
    return tuple(calls)

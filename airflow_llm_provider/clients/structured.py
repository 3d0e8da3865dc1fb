"""What the chat clients share for answers that must meet a JSON Schema.

The vendors' own modes take a part of JSON Schema only: each object must forbid other members and require all it has, and bounds
are not known. A schema that is not like that is asked for in words; either way the step checks the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_llm_provider.clients.base import ChatRequest, Message

__all__ = ["in_words", "is_strict"]

_STRICT_KEYWORDS = frozenset(
    {
        "$defs", "$ref", "additionalProperties", "anyOf", "const", "definitions", "description", "enum", "items",
        "properties", "required", "title", "type",
    }
)  # fmt: skip

_SCHEMAS_BY_NAME = frozenset({"$defs", "definitions", "properties"})


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Tell whether vendors enforce a schema: OpenAI's ``strict`` mode and Anthropic's ``output_config``.

    Args:
        schema: The schema.
    """
    return schema.get("type") == "object" and "anyOf" not in schema and _is_strict(schema)


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or not schema.keys() <= _STRICT_KEYWORDS:
        return False
    if "properties" in schema or schema.get("type") == "object":
        names = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or names != set(schema.get("required", ())):
            return False
    inner = [member for name in _SCHEMAS_BY_NAME & schema.keys() for member in schema[name].values()]
    inner += [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return all(map(_is_strict, inner))


def in_words(request: ChatRequest) -> ChatRequest:
    """Ask in words for an answer that meets the request's schema; a request without one stays as it is.

    Args:
        request: The request.
    """
    if request.schema is None:
        return request
    schema = json.dumps(request.schema, ensure_ascii=False)
    wish = Message("system", f"Answer with JSON only, and nothing around it. It must meet this JSON Schema:\n{schema}")
    return replace(request, messages=(wish, *request.messages))

"""Answers that meet a JSON Schema, made without a model: for the scripted provider and for the wire simulator."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["json_for_schema", "structured_answer"]

_FORMATS: Mapping[str, str] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class _EndlessError(ValueError):
    """A definition that holds itself."""


def structured_answer(body: Mapping[str, Any], text: str) -> str | None:
    """Answer a request that asks for JSON.

    Args:
        body: The request's fields: ``response_format`` (OpenAI, Cohere) or ``output_config`` (Anthropic) say what is asked for.
        text: What would be answered otherwise.

    Returns:
        JSON text; None when the request does not ask for JSON.

    Raises:
        ValueError: The request's schema is none, or nothing simple meets it.
    """
    config = body.get("output_config")
    asked = body.get("response_format") or (config.get("format") if isinstance(config, Mapping) else None)
    if not isinstance(asked, Mapping):
        return None
    kind = asked.get("type")
    if kind == "json_object" and isinstance(asked.get("json_schema"), Mapping):
        # Cohere's way of saying it.
        return json.dumps(json_for_schema(asked["json_schema"]), ensure_ascii=False)
    if kind == "json_object":
        return json.dumps({"answer": text}, ensure_ascii=False)
    if kind != "json_schema":
        return None
    try:
        # OpenAI wraps the schema once more.
        schema = asked["json_schema"]["schema"] if "json_schema" in asked else asked["schema"]
        return json.dumps(json_for_schema(schema), ensure_ascii=False)
    except (KeyError, TypeError):
        raise ValueError("there is no schema") from None


def json_for_schema(schema: Any) -> Any:
    """Make a value that meets a JSON Schema; the same for the same schema.

    Args:
        schema: Types, ``enum``, ``const``, ``properties``, ``required``, ``items``, bounds, usual formats, ``$ref`` within the
            schema, ``anyOf``, ``oneOf`` and ``allOf`` are understood; ``pattern`` is not.

    Raises:
        ValueError: The schema is none, or nothing simple meets it.
    """
    try:
        return _value(schema, schema, "text", frozenset())
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"the schema cannot be read ({type(error).__name__})") from None


def _value(schema: Any, root: Any, name: str, opened: frozenset[str]) -> Any:
    if schema is True:
        return name
    if "$ref" in schema:
        reference = schema["$ref"]
        if reference in opened:
            raise _EndlessError(f"{reference!r} holds itself")
        return _value(_target(reference, root), root, name, opened | {reference})
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("allOf"):
        return _value(_merged(schema, root), root, name, opened)
    for choice in schema.get("anyOf") or schema.get("oneOf") or ():
        try:
            return _value(choice, root, name, opened)
        except _EndlessError:
            continue
    match _kind(schema):
        case "object":
            return _object(schema, root, opened)
        case "array":
            return _array(schema, root, name, opened)
        case "integer":
            return _number(schema, whole=True)
        case "number":
            return _number(schema, whole=False)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema, name)


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(kind[0])
    if kind is None:
        return (
            "object" if "properties" in schema or "required" in schema else "array" if "items" in schema else "string"
        )
    return str(kind)


def _target(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        raise ValueError(f"{reference!r} lies outside the schema")
    for part in filter(None, reference[1:].split("/")):
        root = root[part.replace("~1", "/").replace("~0", "~")]
    return root


def _merged(schema: Mapping[str, Any], root: Any) -> dict[str, Any]:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        resolved = _target(part["$ref"], root) if "$ref" in part else part
        resolved = _merged(resolved, root) if resolved.get("allOf") else resolved
        merged = {
            **merged,
            **resolved,
            "properties": {**merged.get("properties", {}), **resolved.get("properties", {})},
            "required": [*merged.get("required", ()), *resolved.get("required", ())],
        }
    return {key: value for key, value in merged.items() if value or key not in ("properties", "required")}


def _object(schema: Mapping[str, Any], root: Any, opened: frozenset[str]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    found: dict[str, Any] = {}
    for name, inner in properties.items():
        try:
            found[name] = _value(inner, root, name, opened)
        except _EndlessError:
            if name in required:
                raise
    others = schema.get("additionalProperties", True)
    for name in required:
        if name not in properties:
            found[name] = _value(others, root, name, opened)
    return found


def _array(schema: Mapping[str, Any], root: Any, name: str, opened: frozenset[str]) -> list[Any]:
    least = schema.get("minItems", 0)
    count = min(max(1, least), schema.get("maxItems", math.inf))
    try:
        return [_value(schema.get("items", True), root, name, opened) for _ in range(int(count))]
    except _EndlessError:
        if least:
            raise
        return []


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    low = schema.get("minimum", -math.inf)
    high = schema.get("maximum", math.inf)
    above = schema.get("exclusiveMinimum", -math.inf)
    below = schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf")

    def candidates() -> Iterator[float]:
        yield from (1, 0)
        ends = [end for end in (low, high, above, below) if math.isfinite(end)]
        for end in ends:
            yield from (end, math.floor(end), math.ceil(end), math.floor(end) + 1, math.ceil(end) - 1)
            if step:
                yield from (math.ceil(end / step) * step, math.floor(end / step) * step, (end // step + 1) * step)
        yield sum(ends) / max(1, len(ends))
        if step:
            yield step

    for number in candidates():
        inside = low <= number <= high and above < number < below
        if inside and not (whole and number != int(number)) and not (step and number % step):
            return int(number) if whole else number
    raise ValueError("no simple number lies within the schema's bounds")


def _text(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    return name.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]

"""JSON Schema, draft 2020-12: whether something is one, and whether a value meets it.

jsonschema takes 0.15 s to import, so nothing here loads it before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from airflow_llm_provider.errors import InvalidRequest

__all__ = ["JSONSchema", "check_schema", "misfits", "told"]

_MOST_TOLD = 20
_LONGEST_TOLD = 300


def check_schema(schema: Any) -> None:
    """Refuse what is no JSON Schema.

    Args:
        schema: The schema.

    Raises:
        ValueError: It is none; the message says where.
    """
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"this is no JSON Schema: {error.json_path}: {error.message[:_LONGEST_TOLD]}") from None


def misfits(value: Any, schema: Mapping[str, Any] | bool) -> list[str]:
    """Say what keeps a value from meeting a schema.

    Args:
        value: Any JSON value.
        schema: A JSON Schema; what it refers to must be in it, nothing is fetched.

    Returns:
        One text a misfit, with its place (``$.a[0]: 'x' is not of type 'integer'``), in the places' order.

    Raises:
        InvalidRequest: The schema refers to what is not in it, or to itself without end.
    """
    import jsonschema
    import referencing
    import referencing.exceptions

    # With a registry of its own, a schema's `$ref` never reaches the network.
    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    except referencing.exceptions.Unresolvable as error:
        raise InvalidRequest(f"the schema refers to {error.ref!r}, which is not in it") from None
    except RecursionError:
        raise InvalidRequest("the schema refers to itself without end, or the value is nested too deep") from None
    return [f"{error.json_path}: {error.message[:_LONGEST_TOLD]}" for error in found]


def told(found: list[str]) -> str:
    """Join misfits to one text, of which a reader sees the first twenty."""
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return "; ".join(found[:_MOST_TOLD]) + more


def _is_schema(schema: dict[str, Any]) -> dict[str, Any]:
    check_schema(schema)
    return schema


JSONSchema = Annotated[dict[str, Any], AfterValidator(_is_schema)]
"""A JSON Schema among an executor's inputs."""

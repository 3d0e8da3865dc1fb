"""The JSON Schema of ``orchestrator.yaml`` as people write it, for editors.

The schema of the model is that of the data after reading. In the file, any value may also be a text with a variable, a secret may
be in a file, a section may be empty, a key may have hyphens, and all of it may stand below one key.
"""

from __future__ import annotations

import copy
from typing import Any

from airflow_llm_provider.config.configuration import Configuration

__all__ = ["configuration_schema"]

_WITH_VARIABLE = r"\$(\{\w+(:-[^}]*)?\}|\(\w+\))"


def configuration_schema() -> dict[str, Any]:
    """Give the JSON Schema of the file."""
    schema = copy.deepcopy(Configuration.model_json_schema())
    definitions: dict[str, Any] = schema.pop("$defs")
    for section in (schema, *definitions.values()):
        if "properties" in section:
            _as_written(section)
    definitions["Configuration"] = copy.deepcopy(schema)
    schema["properties"]["orchestrator"] = {
        "$ref": "#/$defs/Configuration",
        "description": "All keys may stand below this one.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "orchestrator.yaml",
        "if": {"type": "object", "required": ["orchestrator"]},
        "then": {"maxProperties": 1},
        "$defs": definitions,
    }


def _as_written(section: dict[str, Any]) -> None:
    """Allow in a section what the file may have in it."""
    section["type"] = ["object", "null"]
    properties: dict[str, Any] = section["properties"]
    for name, value in [*properties.items()]:
        properties[name] = _or_variable(value)
        if _is_secret(value):
            properties[f"{name}_file"] = {"type": "string", "description": f"Path of a file that holds {name}."}
            if name in section.get("required", ()):
                section["required"].remove(name)
                section["anyOf"] = [{"required": [name]}, {"required": [f"{name}_file"]}]
    section["patternProperties"] = {
        rf"^(?!{name}$){name.replace('_', '[-_]')}$": value for name, value in properties.items() if "_" in name
    }


def _or_variable(value: Any) -> Any:
    """Allow a variable in the place of a value, and of what it holds if it is a list or a mapping."""
    if not isinstance(value, dict):
        return value
    for inside in ("items", "additionalProperties"):
        if inside in value:
            value[inside] = _or_variable(value[inside])
    members = value.get("anyOf", [value])
    if any(map(_is_structure, members)) or any(map(_is_free_text, members)):
        return {**value, "anyOf": [_or_variable(member) for member in members]} if "anyOf" in value else value
    about = {key: value.pop(key) for key in ("description", "default", "title") if key in value}
    is_optional = any(member.get("type") == "null" for member in members)
    text = {"type": "string", "pattern": f"^$|{_WITH_VARIABLE}" if is_optional else _WITH_VARIABLE}
    return {**about, "anyOf": [*value.get("anyOf", [value]), text]}


def _is_secret(schema: dict[str, Any]) -> bool:
    return any(member.get("format") == "password" for member in (schema, *schema.get("anyOf", ())))


def _is_structure(schema: dict[str, Any]) -> bool:
    return "$ref" in schema or "oneOf" in schema or schema.get("type") in ("object", "array")


def _is_free_text(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type", ())
    return ("string" in kinds if isinstance(kinds, list) else kinds == "string") and not {
        "pattern", "enum", "const",
    } & {*schema}  # fmt: skip

"""The base of everything that a workflow file's keys are read into, and the types of value that several keys share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from airflow_llm_provider.workflow.durations import DURATION_TEXT, parse_duration

__all__ = ["LONGEST", "Delay", "Duration", "Model", "Moment", "Scalar", "Text", "TextList", "free_keys", "json_type"]

LONGEST = 24 * 3600.0
"""Seconds; the longest time that a workflow file may ask for (workflow-language section 9)."""


def free_keys(data: Any) -> Any:
    """Leave out the keys that a file may add for its own purposes (``x-…``)."""
    if isinstance(data, dict) and any(key.startswith("x-") for key in data):
        return {key: value for key, value in data.items() if not key.startswith("x-")}
    return data


class Model(BaseModel):
    """Base of the models: unknown keys are errors, ``x-…`` ones aside; numbers where a text belongs are its text."""

    # A task's process reads one file in one notation, so the others' validators are better built when they are needed.
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, populate_by_name=True, defer_build=True
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        told = handler.resolve_ref_schema(handler(schema))
        # A key may be written in several ways, and pydantic's schema has only the first.
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                first, *others = map(str, field.validation_alias.choices)
                told["properties"] |= dict.fromkeys(others, told["properties"][first])
                if first in told.get("required", []):
                    told["required"] = [name for name in told["required"] if name != first]
                    either = [{"properties": {name: True}, "required": [name]} for name in (first, *others)]
                    told["allOf"] = [*told.get("allOf", []), {"anyOf": either}]
        return told

    @model_validator(mode="before")
    @classmethod
    def _without_free_keys(cls, data: Any) -> Any:
        return free_keys(data)


def _bounded(seconds: float) -> float:
    if seconds > LONGEST:
        raise ValueError(f"{seconds:g} s is too long; at most 24h are allowed")
    return seconds


def _limit(seconds: float) -> float:
    if seconds < 1:
        raise ValueError(f"{seconds:g} s is too short; at least 1s is needed")
    return _bounded(seconds)


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        # Python 3.10 does not read the Z of UTC.
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise ValueError(f"{value!r} is no date; write 2026-01-31 or 2026-01-31T08:00:00") from None


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise ValueError("must be a text, a number, true or false")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_TEXT = {"type": ["string", "number"], "minLength": 1}


def json_type(schema: dict[str, Any]) -> WithJsonSchema:
    """Say what a file may write where a validator does more than the type tells; ``x-ref`` names a definition."""
    return WithJsonSchema(schema)


Text = Annotated[str, Field(min_length=1)]
"""A text that says something."""

TextList = Annotated[
    list[Text], BeforeValidator(_listed), json_type({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]})
]
"""Texts; one of them may stand without a list around it."""

Scalar = Annotated[Any, AfterValidator(_scalar), json_type({"type": ["string", "number", "boolean", "null"]})]
"""A text, a number, true, false or nothing."""

Delay = Annotated[
    float,
    BeforeValidator(parse_duration),
    AfterValidator(_bounded),
    json_type({"anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST}, DURATION_TEXT]}),
]
"""Seconds to wait, 0 to 24 hours, written as a number of them or with a unit."""

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    AfterValidator(_limit),
    json_type({"anyOf": [{"type": "number", "minimum": 1, "maximum": LONGEST}, DURATION_TEXT]}),
]
"""Seconds that something may take, 1 second to 24 hours, written as a number of them or with a unit."""

Moment = Annotated[datetime, BeforeValidator(_moment), json_type({"type": "string"})]
"""A date, with or without a time of day."""

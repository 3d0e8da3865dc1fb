"""What the sections of ``orchestrator.yaml`` are made of: their base, and the types of values that have a unit or are secret.

An empty text, which is what an unset variable gives, counts as absent wherever a value may be absent: the same file then serves a
place that has it and one that has not. What is no secret may be shown, so no address in such a value holds a password.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from airflow_llm_provider.config.addresses import holds_password, is_web_address
from airflow_llm_provider.config.secrets import is_open, is_secret
from airflow_llm_provider.files.fields import may_be_absent, type_of
from airflow_llm_provider.workflow.durations import DURATION_TEXT, PositiveDuration

__all__ = [
    "Cpus",
    "Duration",
    "FilePath",
    "Place",
    "Port",
    "QueueNames",
    "Section",
    "Size",
    "WebAddress",
    "parse_size",
]


class Section(BaseModel):
    """One section: immutable, and without a key that nobody reads.

    The ``Attributes:`` of its docstring are the descriptions of its JSON Schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: object, info: ValidationInfo) -> object:
        kind = type_of(cls.model_fields[str(info.field_name)])
        if value == "" and may_be_absent(kind):
            return None
        if any(map(holds_password, _texts(value))) and is_open(kind):
            secrets = [name for name, field in cls.model_fields.items() if is_secret(type_of(field))]
            where = f"what is secret belongs into {' or '.join(map(repr, secrets))}" if secrets else "take it away"
            raise ValueError(f"this address holds a password or a name, and may be shown; {where}")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Give the JSON Schema, with the meaning of each key."""
        schema = handler(core_schema)
        within = handler.resolve_ref_schema(schema)
        within["description"] = (cls.__doc__ or "").partition("\n")[0]
        for name, text in _meanings(cls).items():
            alias = cls.model_fields[name].alias or name
            within["properties"][alias]["description"] = text
        return schema


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _meanings(section: type[BaseModel]) -> Mapping[str, str]:
    _, _, below = inspect.cleandoc(section.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in below.splitlines():
        if (match := re.match(r"    (\w+): (.*)", line)) is not None:
            name = match[1]
            found[name] = match[2]
        elif line.startswith("        ") and name:
            found[name] += f" {line.strip()}"
    return found


FilePath = Annotated[Path, AfterValidator(Path.expanduser)]
"""The path of a file or a folder; ``~`` is the user's home."""


def _place(value: str) -> str:
    if not re.match(r"(?!https?:)[\w.+-]+://|[/~]", value):
        raise ValueError(
            f"{value!r} is neither a URL of object storage, such as s3://bucket/folder, nor a path that begins with /"
        )
    return os.path.expanduser(value)


Place = Annotated[str, AfterValidator(_place)]
"""Where files are kept: a folder, or a URL of object storage."""


def _web_address(value: str) -> str:
    if not is_web_address(value):
        raise ValueError("this is no address; write one such as https://example.com or http://host:8080")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
"""The address of something that is asked over HTTP."""


def _queue_names(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("at least one queue is needed; write one, such as [default]")
    for value in values:
        if "," in value or not value.strip():
            raise ValueError(f"{value!r} is no name of a queue; write names without commas")
    return values


QueueNames = Annotated[tuple[str, ...], AfterValidator(_queue_names)]
"""The names of some queues."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]i?)?B?\s*")
_BYTES = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)}


def parse_size(value: str | int) -> int:
    """Read a size in bytes.

    Args:
        value: A number of bytes, or a text of a number and a unit (``k M G T`` for powers of 1000, ``Ki Mi Gi Ti`` of 1024).

    Raises:
        ValueError: The value is no size; the message says what one looks like.
    """
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is no size; write a number of bytes or a text such as 512Mi, 16Gi or 1G")
    if not match[2] and "." in match[1]:
        raise ValueError(f"{value!r} is no whole number of bytes; write one, or a text with a unit such as 1.5Mi")
    return int(float(match[1]) * _BYTES.get(match[2] or "", 1))


def _size_text(size: int) -> str:
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)


def _parse_cpus(value: Any) -> Any:
    match = re.fullmatch(r"\s*(\d+)m\s*", value) if isinstance(value, str) else None
    return int(match[1]) / 1000 if match else value


def _duration_text(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


Duration = Annotated[
    PositiveDuration,
    PlainSerializer(_duration_text, return_type=str, when_used="json"),
    WithJsonSchema({"format": "duration", "anyOf": [{"type": "number", "exclusiveMinimum": 0}, DURATION_TEXT]}),
]
"""Seconds above 0, written as a number of them or with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0),
    PlainSerializer(_size_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "format": "size",
            "anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}],
        }
    ),
]
"""Bytes, written as a number of them or with a unit."""

Cpus = Annotated[
    float,
    BeforeValidator(_parse_cpus),
    Field(gt=0),
    WithJsonSchema(
        {
            "format": "processors",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+m$"}],
        }
    ),
]
"""Processors, written as a number of them or of thousandths (``500m``)."""

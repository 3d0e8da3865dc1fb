"""Durations as workflow files and configuration write them: ``500ms 30s 5m 2h 1d`` or a number of seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

__all__ = ["DURATION_TEXT", "PositiveDuration", "parse_duration"]

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: str | int | float) -> float:
    """Read a duration.

    Args:
        value: A number of seconds, or a text of a number and a unit (``ms s m h d``; no unit means seconds).

    Returns:
        Seconds.

    Raises:
        ValueError: The value is no duration; the message says what one looks like.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value!r} is negative; a duration counts from 0")
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{value!r} is no duration; write a number of seconds or a text such as 500ms, 30s, 5m, 2h or 1d"
        )
    return float(match[1]) * _SECONDS[match[2] or "s"]


DURATION_TEXT = {"type": "string", "pattern": rf"^{_DURATION.pattern.replace('(?:', '(')}$"}
"""The JSON Schema of a duration that is written as a text."""

PositiveDuration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, DURATION_TEXT]}),
]
"""Seconds above 0, written as a number of them or with a unit."""

"""Metrics that check an answer's form: texts in it, a regular expression, a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_llm_provider.answers import parse_json
from airflow_llm_provider.errors import InvalidOutput, InvalidRequest
from airflow_llm_provider.evaluation.texts import fold
from airflow_llm_provider.evaluation.values import Finding
from airflow_llm_provider.json_schema import check_schema, misfits
from airflow_llm_provider.patterns import find_first

__all__ = ["contains", "json_schema", "matches"]


def contains(response: str, texts: Sequence[str]) -> Finding:
    """Share of the texts that are in the answer, whatever their case."""
    folded = fold(response)
    absent = [text for text in texts if fold(text) not in folded]
    said = f"without {', '.join(map(repr, absent[:5]))}" if absent else "all texts are there"
    return Finding(1 - len(absent) / len(texts), said)


def matches(response: str, pattern: str) -> Finding:
    """1 when a regular expression is found in the answer.

    Raises:
        InvalidRequest: The pattern is none, or the search takes too long.
    """
    found = find_first(pattern, response) is not None
    return Finding(float(found), f"{pattern!r} is {'' if found else 'not '}found")


def json_schema(response: str, schema: Mapping[str, Any] | bool) -> Finding:
    """1 when the answer is JSON, also in a Markdown fence, and meets a JSON Schema (draft 2020-12).

    Raises:
        InvalidRequest: The schema is none.
    """
    try:
        check_schema(schema)
    except ValueError as error:
        raise InvalidRequest(f"metric 'json_schema': {error}") from None
    try:
        value = parse_json(response)
    except InvalidOutput as error:
        return Finding(0.0, str(error))
    troubles = misfits(value, schema)
    return Finding(float(not troubles), "; ".join(troubles[:3]) or "it meets the schema")

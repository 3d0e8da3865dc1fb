"""The functions of transforms, where their rules are not plain from their names."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_llm_provider.errors import InvalidOutput, InvalidRequest
from airflow_llm_provider.executors import functions
from airflow_llm_provider.executors.functions import parse_json, regex_extract


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Here you are:\n```json\n{"a": 1}\n```\nAnything else?', {"a": 1}),
        ("```\n[1]\n```", [1]),
        ('  ```json\n  {"a": "``` inside"}\n  ```', {"a": "``` inside"}),
        ([1], [1]),
    ],
)
def test_json_as_models_write_it(text: Any, value: Any) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "text", ["nothing", '{"a": NaN}', "[1e999]", "[" * 100_000, "```\n" * 3, "\n" * 200_000 + "```" + "\n" * 200_000]
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(InvalidOutput, match=r"^not JSON: "):
        parse_json(text)


def test_a_regular_expression_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "REGEX_SECONDS", 0.05)
    with pytest.raises(InvalidRequest, match=r"did not end within 0.05 s on a text of 40 characters"):
        regex_extract("a" * 39 + "!", pattern="(a|aa)+$")


def test_regular_expressions() -> None:
    assert regex_extract("order 42", pattern=r"\d+") == "42"
    assert regex_extract("order 42", pattern=r"(?P<word>\w+) (\d+)", group="word") == "order"
    with pytest.raises(InvalidRequest, match="is no regular expression: "):
        regex_extract("x", pattern="(")
    with pytest.raises(InvalidRequest, match="has no group 3"):
        regex_extract("x", pattern="x", group=3)

"""How clients ask for answers that meet a schema."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_llm_provider.clients import anthropic, openai
from airflow_llm_provider.clients.base import ChatRequest, Message
from airflow_llm_provider.clients.structured import in_words, is_strict

TEXT = {"type": "string"}
STRICT = {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (STRICT, True),
        ({**STRICT, "description": "x", "$defs": {"b": STRICT}}, True),
        ({**STRICT, "properties": {"a": {"type": "array", "items": STRICT}}}, True),
        ({**STRICT, "properties": {"a": {"anyOf": [STRICT, {"type": "null"}]}}}, True),
        ({**STRICT, "required": []}, False),
        ({**STRICT, "additionalProperties": True}, False),
        ({**STRICT, "properties": {"a": {"type": "integer", "minimum": 1}}}, False),
        ({**STRICT, "properties": {"a": {"type": "object"}}}, False),
        ({**STRICT, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, False),
        ({**STRICT, "anyOf": [STRICT]}, False),
        ({**STRICT, "properties": {"a": True}}, False),
        (TEXT, False),
        ({"type": "array", "items": STRICT}, False),
        ({}, False),
    ],
)
def test_what_vendors_enforce(schema: dict[str, Any], strict: bool) -> None:
    assert is_strict(schema) is strict


def request(model: str, schema: dict[str, Any] | None) -> ChatRequest:
    return ChatRequest(model, (Message("system", "Be brief."), Message("user", "Who?")), schema=schema)


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, True), ({"type": "object"}, False)])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1", "o3", "gpt-5", "ft:gpt-4o-2024-08-06:x", "llama3"])
def test_openai(model: str, schema: dict[str, Any], strict: bool) -> None:
    body = openai.chat_body(request(model, schema))
    asked = {"name": "answer", "schema": schema, "strict": strict}
    assert body["response_format"] == {"type": "json_schema", "json_schema": asked}
    assert len(body["messages"]) == 2


@pytest.mark.parametrize("model", ["gpt-4", "gpt-4-turbo", "gpt-4-0613", "gpt-3.5-turbo", "gpt-4o-2024-05-13"])
def test_openai_models_that_must_be_told_in_words(model: str) -> None:
    body = openai.chat_body(request(model, STRICT))
    assert "response_format" not in body
    assert '"additionalProperties": false' in body["messages"][0]["content"]


def test_anthropic() -> None:
    body = anthropic.message_body(request("claude-sonnet-4-5-20250929", STRICT))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": STRICT}}
    assert body["system"] == "Be brief."


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("claude-sonnet-4-5", {"type": "object"}),
        ("claude-3-5-haiku-20241022", STRICT),
        ("claude-sonnet-4-20250514", STRICT),
    ],
)
def test_anthropic_must_be_told_in_words(model: str, schema: dict[str, Any]) -> None:
    body = anthropic.message_body(request(model, schema))
    assert "output_config" not in body
    assert body["system"].startswith("Answer with JSON only")
    assert body["system"].endswith("Be brief.")


def test_without_a_schema_nothing_changes() -> None:
    plain = request("m", None)
    assert in_words(plain) is plain
    assert "response_format" not in openai.chat_body(plain)
    assert "output_config" not in anthropic.message_body(plain)

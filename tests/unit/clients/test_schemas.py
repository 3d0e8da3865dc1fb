"""Answers that meet a JSON Schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.clients.schemas import json_for_schema, structured_answer

NODE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                "twin": {"$ref": "#/$defs/Node"},
            },
            "required": ["name", "next", "children"],
        }
    },
    "$ref": "#/$defs/Node",
}

MET: list[tuple[Any, Any]] = [
    (True, "text"),
    ({}, "text"),
    ({"const": None}, None),
    ({"enum": ["b", "a"]}, "b"),
    ({"type": "string"}, "text"),
    ({"type": ["integer", "null"]}, 1),
    ({"type": "null"}, None),
    ({"type": "boolean"}, True),
    ({"type": "string", "minLength": 6}, "text.."),
    ({"type": "string", "maxLength": 2}, "te"),
    ({"type": "string", "format": "date"}, "2026-01-31"),
    ({"type": "string", "format": "of another kind"}, "text"),
    ({"type": "integer", "minimum": 5}, 5),
    ({"type": "integer", "minimum": 1.5}, 2),
    ({"type": "integer", "maximum": -2.5}, -3),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3}, 2),
    ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
    ({"type": "number", "minimum": 0.2, "maximum": 0.5}, 0.2),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "array", "items": {"type": "integer"}}, [1]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
    ({"type": "array", "maxItems": 0}, []),
    ({"items": {"type": "null"}}, [None]),
    ({"type": "object"}, {}),
    ({"type": "object", "required": ["a"]}, {"a": "a"}),
    ({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 1}),
    (
        {"properties": {"label": {"type": "string"}, "score": {"type": "number"}}, "required": ["label"]},
        {"label": "label", "score": 1},
    ),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
    ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, None),
    (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
                {"$ref": "#/$defs/B"},
                {"allOf": [{"required": ["c"]}]},
            ],
            "$defs": {"B": {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}},
        },
        {"a": None, "b": True, "c": "c"},
    ),
    ({"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": {"type": "integer"}}}, 1),
    (NODE, {"name": "name", "next": None, "children": []}),
]


@pytest.mark.parametrize(("schema", "expected"), MET, ids=lambda value: json.dumps(value)[:60])
def test_a_schema_is_met(schema: Any, expected: Any) -> None:
    value = json_for_schema(schema)
    assert (value, type(value)) == (expected, type(expected))
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        None,
        5,
        {"type": "integer", "minimum": 0.2, "maximum": 0.5},
        {"type": "number", "minimum": 2, "maximum": 1},
        {"type": "integer", "minimum": "x"},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": 5},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "string", "minLength": "x"},
    ],
    ids=str,
)
def test_a_schema_that_nothing_simple_meets(schema: Any) -> None:
    with pytest.raises(ValueError, match=r"schema|holds itself"):
        json_for_schema(schema)


BOUND = st.integers(-20, 20) | st.floats(-20, 20)


@given(
    whole=st.booleans(),
    bounds=st.fixed_dictionaries(
        {},
        optional={"minimum": BOUND, "maximum": BOUND, "exclusiveMinimum": BOUND, "exclusiveMaximum": BOUND},
    ),
)
def test_a_number_lies_within_its_bounds(whole: bool, bounds: dict[str, float]) -> None:
    schema = {"type": "integer" if whole else "number", **bounds}
    try:
        value = json_for_schema(schema)
    except ValueError:
        # Then no whole number does.
        numbers = range(-22, 23) if whole else ()
        assert not any(jsonschema.Draft202012Validator(schema).is_valid(number) for number in numbers)
    else:
        jsonschema.validate(value, schema)


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": "json"}, None),
        ({"response_format": {"type": "json_object"}}, {"answer": "made"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}, {"age": 1}),
        ({"output_config": {"effort": "low"}}, None),
        ({"output_config": 5}, None),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, {"age": 1}),
    ],
    ids=str,
)
def test_structured_answer(body: dict[str, Any], expected: Any) -> None:
    answer = structured_answer(body, "made")
    assert (None if answer is None else json.loads(answer)) == expected


@pytest.mark.parametrize(
    "asked",
    [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": None},
        {"type": "json_schema", "json_schema": {}},
        {"type": "json_schema", "json_schema": {"schema": False}},
    ],
    ids=str,
)
def test_a_request_without_a_schema(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="schema"):
        structured_answer({"response_format": asked}, "made")

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import values
from airflow_llm_provider.workflow.values import Comparison, compare, equal, get_item, to_text, truthy

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_everything_public_exists() -> None:
    assert all(hasattr(values, name) for name in values.__all__)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        ("a 'b' \"c\"", "a 'b' \"c\""),
        (5, "5"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (12345678901234567890, "12345678901234567890"),
        ([1, "é", None], '[1, "é", null]'),
        ({"a": {"b": True}}, '{"a": {"b": true}}'),
        ((1, 2), "[1, 2]"),
        (float("nan"), ""),
        ([float("inf"), 1], "[null, 1]"),
    ],
)
def test_to_text(value: Any, text: str) -> None:
    assert to_text(value) == text


@given(JSON.filter(lambda value: isinstance(value, (list, dict))))
def test_text_of_a_collection_is_its_json(value: Any) -> None:
    assert json.loads(to_text(value)) == value


def test_a_value_nested_too_deep_is_an_expression_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested too deep"):
        to_text(deep)
    while deep:
        # Freed level by level: the interpreter's own way to free it is recursive on some versions.
        deep = deep.pop()


def test_a_value_that_contains_itself_is_an_expression_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ExpressionError, match="cannot be written"):
        to_text(loop)


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", [], {}])
def test_falsy(value: Any) -> None:
    assert truthy(value) is False


@pytest.mark.parametrize("value", [True, 1, -0.5, "0", "false", [0], {"a": None}])
def test_truthy(value: Any) -> None:
    assert truthy(value) is True


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (5, 5.0, True),
        ("5", 5, True),
        ("5.0", 5, False),
        ("true", True, True),
        ("True", True, False),
        (True, 1, False),
        (False, 0, False),
        (None, None, True),
        (None, False, False),
        (None, "", False),
        ("a", "a", True),
        ([1, "2"], [1.0, 2], True),
        ([1], [True], False),
        ([1], [1, 2], False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ("[1]", [1], False),
        ([], {}, False),
    ],
)
def test_equal(a: Any, b: Any, expected: bool) -> None:
    assert equal(a, b) is expected
    assert equal(b, a) is expected


@given(JSON)
def test_a_value_equals_itself(value: Any) -> None:
    assert equal(value, value)
    assert equal(value, json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("a", "op", "b", "expected"),
    [
        (1, "<", 2, True),
        (2, "<=", 2.0, True),
        (3, ">", 2, True),
        (2, ">=", 3, False),
        ("a", "<", "b", True),
        ("10", "<", "9", True),
        ("10", ">", 9, True),
        (0.5, "<", " 0.8 ", True),
        ("high", ">", 5, False),
        ("high", "<=", 5, False),
        (None, "<", 1, False),
        (None, "<=", None, False),
        (True, ">", 0, False),
        ([1], "<", [2], False),
        ({}, ">=", {}, False),
        (float("nan"), "<=", 1, False),
    ],
)
def test_compare(a: Any, op: Comparison, b: Any, expected: bool) -> None:
    assert compare(a, b, op) is expected


@pytest.mark.parametrize(
    ("value", "key", "item"),
    [
        ({"a": 1}, "a", 1),
        ({"a": 1}, "b", None),
        ({"0": 1}, 0, 1),
        ([7, 8], 1, 8),
        ([7, 8], "1", 8),
        ([7, 8], 1.0, 8),
        ([7, 8], 2, None),
        ([7, 8], -1, None),
        ([7, 8], "-1", None),
        ([7, 8], True, None),
        ({"True": 1}, True, None),
        ([7, 8], "length", None),
        ("text", 0, None),
        (None, "a", None),
        ({"a": 1}, "__class__", None),
        ({"a": 1}, "keys", None),
        ({"a": 1}, ["a"], None),
    ],
)
def test_get_item(value: Any, key: Any, item: Any) -> None:
    assert get_item(value, key) == item

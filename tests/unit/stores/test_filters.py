"""Conditions on metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.stores.filters import AllOf, AnyOf, Comparison, parse_filter

DOCUMENT = {"lang": "en", "year": 2021, "score": 0.5, "draft": False, "tags": ["tea", "hot"], "nothing": None}


@dataclass(frozen=True)
class Case:
    """A filter, and whether the document meets it."""

    filter: dict[str, Any]
    expected: bool


CASES = [
    Case({"lang": "en"}, True),
    Case({"lang": "EN"}, False),
    Case({"lang": {"$eq": "en"}}, True),
    Case({"lang": {"$ne": "en"}}, False),
    Case({"lang": {"$ne": "de"}}, True),
    Case({"lang": {"$in": ["de", "en"]}}, True),
    Case({"lang": {"$in": []}}, False),
    Case({"lang": {"$nin": ["de", "en"]}}, False),
    Case({"lang": {"$nin": ["de"]}}, True),
    Case({"year": 2021.0}, True),
    Case({"year": "2021"}, False),
    Case({"year": {"$gt": 2020, "$lt": 2022}}, True),
    Case({"year": {"$gt": 2021}}, False),
    Case({"year": {"$gte": 2021}}, True),
    Case({"year": {"$lt": 2021}}, False),
    Case({"year": {"$lte": 2021}}, True),
    Case({"year": {"$gt": "2000"}}, False),
    Case({"lang": {"$gt": "de"}}, True),
    Case({"draft": False}, True),
    Case({"draft": 0}, False),
    Case({"draft": {"$ne": 0}}, True),
    Case({"tags": "tea"}, True),
    Case({"tags": "cold"}, False),
    Case({"tags": {"$ne": "tea"}}, False),
    Case({"tags": {"$nin": ["cold"]}}, True),
    Case({"missing": "x"}, False),
    Case({"missing": {"$ne": "x"}}, True),
    Case({"missing": {"$nin": ["x"]}}, True),
    Case({"missing": {"$lt": 5}}, False),
    Case({"nothing": {"$ne": "x"}}, True),
    Case({"lang": "en", "year": 2021}, True),
    Case({"lang": "en", "year": 2022}, False),
    Case({"$or": [{"lang": "de"}, {"year": {"$gte": 2021}}]}, True),
    Case({"$or": [{"lang": "de"}, {"year": 1}]}, False),
    Case({"$and": [{"lang": "en"}, {"$or": [{"year": 1}, {"draft": False}]}]}, True),
    Case({"lang": "en", "$or": [{"year": 1}]}, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.filter))
def test_matches(case: Case) -> None:
    assert parse_filter(case.filter).matches(DOCUMENT) is case.expected


def test_a_filter_is_a_tree_that_a_store_can_translate() -> None:
    assert parse_filter({"a": 1, "$or": [{"b": {"$in": ["x"]}}, {"c": {"$gt": 2, "$lt": 3}}]}) == AllOf(
        (
            Comparison("a", "$eq", 1),
            AnyOf(
                (
                    Comparison("b", "$in", ("x",)),
                    AllOf((Comparison("c", "$gt", 2), Comparison("c", "$lt", 3))),
                )
            ),
        )
    )


WRONG = [
    ({}, "the filter is empty; leave it out, or give at least one condition"),
    ({"a": {}}, "the field 'a' is compared with nothing; write a value or {'$eq': value}"),
    ({"a": {"$gte ": 5}}, "'$gte ' for the field 'a' is no operator; did you mean '$gte'?"),
    ({"a": {"gte": 5}}, "'gte' for the field 'a' is no operator; did you mean '$gte'?"),
    ({"$nor": [{"a": 1}]}, "'$nor' stands where a field's name or $and, $or is expected; did you mean '$or'?"),
    ({"$or": []}, "'$or' needs a list of at least one filter, not []"),
    ({"$and": {"a": 1}}, "'$and' needs a list of at least one filter, not {'a': 1}"),
    ({"$and": [{}]}, "the filter is empty; leave it out, or give at least one condition"),
    ({"a": {"$in": "x"}}, "'$in' for the field 'a' needs a list of texts, numbers or booleans, not 'x'"),
    ({"a": {"$in": [None]}}, "'$in' for the field 'a' needs a list of texts, numbers or booleans, not [None]"),
    ({"a": ["x"]}, "'$eq' for the field 'a' needs a text or number or boolean, not ['x']; use '$in' for a list"),
    ({"a": None}, "'$eq' for the field 'a' needs a text or number or boolean, not None"),
    ({"a": {"$gt": True}}, "'$gt' for the field 'a' needs a text or number, not True"),
]


@pytest.mark.parametrize(("data", "message"), WRONG, ids=str)
def test_what_is_no_filter(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(data)
    assert str(caught.value) == message


def test_depth_is_bounded() -> None:
    data: dict[str, Any] = {"a": 1}
    for _ in range(40):
        data = {"$and": [data]}
    with pytest.raises(InvalidRequest, match="more than 32 levels"):
        parse_filter(data)


def test_what_is_still_to_be_filled_in_is_not_judged() -> None:
    data = {"a": {"$in": "{{ x }}", "$gt": "{{ x }}"}, "b": {"$in": ["{{ x }}"]}, "$or": "{{ x }}"}
    parse_filter(data, is_open=lambda value: isinstance(value, str) and "{{" in value)
    with pytest.raises(InvalidRequest):
        parse_filter(data)

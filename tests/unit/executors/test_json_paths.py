"""JSONPath: what a path gives, what is said about a wrong one, and that every query ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_llm_provider.errors import InvalidOutput, InvalidRequest
from airflow_llm_provider.executors import json_paths
from airflow_llm_provider.executors.functions import json_path
from airflow_llm_provider.executors.json_paths import MAX_SOURCE, Query
from airflow_llm_provider.patterns import find_first, match_whole

SHOP: dict[str, Any] = {
    "items": [{"id": 1, "price": 5, "name": "pen"}, {"id": 2, "price": 12.5, "name": "ink\nblue"}, {"id": 3}],
    "limit": 10,
    "a-b": {"__class__": "member"},
    "nothing": None,
}


def nested(depth: int) -> Any:
    value: Any = "end"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [SHOP]),
        ("$.items[0].name", ["pen"]),
        ("$['a-b'].__class__", ["member"]),
        ("$.items[-1].id", [3]),
        ("$.nothing", [None]),
        ("$.missing[4]", []),
        ("$.items[*].price", [5, 12.5]),
        ("$..id", [1, 2, 3]),
        ("$.items[0:2].id", [1, 2]),
        ("$.items[?@.price > $.limit].id", [2]),
        ("$.items[?!@.price].id", [3]),
        ("$.items[?length(@.name) == 3].id", [1]),
        ("$[?count(@.*) == 3].*.id", [1, 2, 3]),
        ("$.items[?match(@.name, 'p.n')].id", [1]),
        ("$.items[?match(@.name, 'p')].id", []),
        ("$.items[?search(@.name, '[.n]k')].id", [2]),
        # the dot of RFC 9485 is no line end
        ("$.items[?search(@.name, 'ink.blue')].id", []),
        ("$.items[?search(@.name, 'ink\\\\nblue')].id", [2]),
        # what is no text, and what is no pattern of RFC 9485, matches nothing
        ("$.items[?search(@.id, '1')].id", []),
        ("$.items[?search(@.name, '(?i)PEN')].id", []),
        ("$.items[?search(@.name, '(')].id", []),
    ],
)
def test_find(path: str, found: list[Any]) -> None:
    assert Query(path).find(SHOP) == found


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"path": "$.items[0].id"}, 1),
        ({"path": "$.items[9].id"}, None),
        ({"path": "$.items[9].id", "default": "none"}, "none"),
        ({"path": "$.nothing", "default": "none"}, None),
        ({"path": "$.items[*].id"}, [1, 2, 3]),
        ({"path": "$.items[0:1].id"}, [1]),
        ({"path": "$.items[*].id", "first": True}, 1),
        ({"path": "$.items[*].x"}, []),
        ({"path": "$.items[*].x", "first": True}, None),
        ({"path": "$.items[*].x", "default": ["none"]}, ["none"]),
    ],
)
def test_the_function_of_transforms(settings: dict[str, Any], value: Any) -> None:
    assert json_path(SHOP, **settings) == value


def test_a_text_is_read_as_json() -> None:
    assert json_path('Here:\n```json\n{"a": [1, 2]}\n```', path="$.a[1]") == 2
    with pytest.raises(InvalidOutput, match="not JSON"):
        json_path("no JSON", path="$")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "'' is no JSONPath: one begins with '$', as in '$.items[0].name'"),
        ("items[0]", "'items[0]' is no JSONPath: one begins with '$', as in '$.items[0].name'"),
        ("$.a[", "'$.a[' is no JSONPath: unbalanced brackets at character 5"),
        ("$.a b", "'$.a b' is no JSONPath: expected '.', '..' or a bracketed selection, found 'b' at character 5"),
        ("$[?foo(@)]", "'$[?foo(@)]' is no JSONPath: function 'foo' is not defined at character 4"),
        ("$[?@ == 1e999]", "'$[?@ == 1e999]' is no JSONPath that can be read: a number is too large"),
        (
            "$[?" + "!" * 3_000 + "@]",
            f"'$[?{'!' * 96}…' is no JSONPath that can be read: it is nested too deep",
        ),
        ("$" + ".a" * 5_000, f"the path is longer than {MAX_SOURCE:,} characters"),
    ],
)
def test_what_is_no_path(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"path|JSONPath") as caught:
        Query(path)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "path",
    [
        "$..*..*..*..*",
        "$..*..*..[?count($..*) == 0]",
        "$[?$[?$[?$[?$[?@ == -1]]]]]",
        "$..[?search($.text, '(a|aa)+$')]",
        "$[?search($.text, $.pattern)]",
    ],
)
def test_every_query_ends(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(json_paths, "QUERY_SECONDS", 0.05)
    value = {str(number): {str(inner): [inner] for inner in range(40)} for number in range(40)}
    with pytest.raises(InvalidRequest, match=r"did not end within 0\.05 s; write it with fewer '\.\.' and filters"):
        Query(path).find({**value, "text": "a" * 60 + "!", "pattern": "(a|aa)+$", "deep": nested(60)})


@pytest.mark.parametrize("pattern", ["(" * 50_000, "((a{500}){500}){500}", "(" * 5_000 + "a" + ")" * 5_000])
def test_a_pattern_out_of_an_answer_cannot_end_the_process(pattern: str) -> None:
    assert Query("$.list[?search(@, $.pattern)]").find({"list": ["aaa"], "pattern": pattern}) == []


def test_a_value_nested_too_deep() -> None:
    assert Query("$" + ".a" * 150).find(nested(150)) == ["end"]
    with pytest.raises(InvalidRequest, match=r"^the value is nested too deep for the path '\$\.\.a'$"):
        Query("$..a").find(nested(500))


def test_the_library_is_imported_for_a_path_only() -> None:
    code = (
        "import sys; from airflow_llm_provider.executors import json_transform, transform; "
        "transform.TransformInputs.model_validate({'function': 'merge', 'inputs': [{}]}); "
        "assert not {'jsonpath_rfc9535', 'regex', 'jsonschema'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PIECES = ["$", ".", "..", "*", "a", "[", "]", "?", "@", "(", ")", "'", '"', "==", "<", "&&", "!", ",", ":", "0", "-1"]
PIECES += [
    "count(",
    "match(",
    "search(",
    "length(",
    "value(",
    "1e5",
    "\\",
    " ",
    "null",
    "true",
    "$.a[?@.b == 'x']",
    "_",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "__class__"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=20).map("".join).map("$".__add__), JSON)
def test_any_text_is_a_path_or_a_value_error(path: str, value: Any) -> None:
    with contextlib.suppress(ValueError):
        query = Query(path)
        with contextlib.suppress(InvalidRequest):
            found = query.find(value)
            assert len(found) <= 1 or not query.is_singular


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("((a{500}){500}){500}", r"is too large a regular expression; write it with smaller repetitions$"),
        ("((a{500}){0,2}){500}[(]{99999}", "is too large a regular expression"),
        ("x{99999999999}", "is too large a regular expression"),
        ("a" * 20_000, "is too large a regular expression"),
        ("(" * 4_000 + "a" + ")" * 4_000, "is no regular expression: it is nested too deep"),
        ("(", "is no regular expression: "),
    ],
)
def test_what_is_no_pattern(pattern: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        find_first(pattern, "aaa")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d{4}-\d{2}){200}",
        r"[(]{400}([)]{400}){3}",
        r"\({400}(\)x{2}){300}",
        r"(x|[^]{}]{100}){400}",
        "(a{2}){0,9999}",
    ],
)
def test_repetitions_of_a_usual_size_are_allowed(pattern: str) -> None:
    assert match_whole(pattern, "no such text") is None

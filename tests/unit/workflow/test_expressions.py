from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import expressions, functions, syntax
from airflow_llm_provider.workflow.expressions import (
    MAX_DEPTH,
    MAX_SOURCE,
    Expression,
    Path,
    Reference,
    parse,
    to_source,
)
from airflow_llm_provider.workflow.syntax import Name, Node
from airflow_llm_provider.workflow.values import get_item
from tests.unit.workflow.strategies import TREES

DATA: dict[str, Any] = {
    "n": 5,
    "f": 2.5,
    "s": "hi",
    "yes": True,
    "list": [1, 2, {"c": "x"}],
    "obj": {"a": {"b": 7}, "a-b": "dash", "true": "member"},
    "nothing": None,
    "steps": {"my-step": {"score": 3}, "a": {"x": 1}},
    "tasks": {"t-1": {"outputs": {"b": [{"c": "deep"}]}}},
    "outputs": {"o-1": 9},
    "inputs": {"a": 10, "b": 4},
}


def resolve(path: Path) -> object:
    value: object = DATA
    for part in path:
        value = get_item(value, part)
    return value


def evaluate(source: str) -> object:
    return parse(source).evaluate(resolve)


def test_everything_public_exists() -> None:
    for module in (expressions, functions):
        assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        # literals
        ("1", 1),
        ("1.5e2", 150.0),
        ("'it''s'", "it's"),
        (r'"a\n\u00e9\"\d"', 'a\né"\\d'),
        ("''", ""),
        ("true", True),
        ("null", None),
        # paths
        ("s", "hi"),
        (" obj.a.b ", 7),
        ("obj['a-b']", "dash"),
        ("obj.true", "member"),
        ("list[2].c", "x"),
        ("list[n - 3].c", "x"),
        ("(obj).a['b']", 7),
        ("list[0 - 1]", None),
        ("missing.deep[3].path", None),
        ("s.length", None),
        # ids with a minus
        ("steps.my-step.score", 3),
        ("steps.my-step.score > 1", True),
        ("steps.my-step.score - 1", 2),
        ("tasks.t-1.outputs.b[0].c", "deep"),
        ("outputs.o-1 - 1", 8),
        ("inputs.a-inputs.b", 6),
        ("n-1", 4),
        # arithmetic
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("6 / 2", 3),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("7.5 % 2", 1.5),
        ("--n", 5),
        ("'n=' + n", "n=5"),
        ("null + 's'", "s"),
        ("list + list", [1, 2, {"c": "x"}] * 2),
        ("'' + obj.a", '{"b": 7}'),
        # logic gives an operand
        ("nothing || 'd'", "d"),
        ("n || 'd'", 5),
        ("'' && n", ""),
        ("n && s", "hi"),
        ("!n", False),
        ("!nothing", True),
        ("1 == 2 || 3 == 3 && 4 == 5", False),
        ("yes || 1 / 0", True),
        # comparison
        ("5 == 5.0", True),
        ("'5' == 5", True),
        ("yes == 'true'", True),
        ("yes == 1", False),
        ("nothing == null", True),
        ("s != null", True),
        ("nothing < 1", False),
        ("nothing >= 1", False),
        ("1 < 2 == true", True),
        # functions
        ("format('{} ${x} {0} ${}', s, n, f)", "hi 5 hi 2.5"),
        ("format('{1} {0}', 'a', 'b')", "b a"),
        ("format('{ x } {', 1)", "{ x } {"),
        ("upper(s) + lower('AB') + trim('  c ')", "HIabc"),
        ("upper(nothing)", ""),
        ("replace('a.b.c', '.', '-')", "a-b-c"),
        ("contains('abc', 'b')", True),
        ("contains(list, 2)", True),
        ("contains(obj, 'a')", True),
        ("contains(nothing, 'a')", False),
        ("startsWith(s, 'h') && endsWith(s, 'i')", True),
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(1.005, 2)", 1.01),
        ("round(7)", 7),
        ("floor(2.9) + ceil(2.1)", 5),
        ("min(3, 1.5, 2)", 1.5),
        ("max('a', 'c', 'b')", "c"),
        ("max(fromJson('[1, 9, 3]'))", 9),
        ("toJson(obj.a)", '{"b": 7}'),
        ("fromJson('{\"a\": [1, null]}').a[0]", 1),
        ("length(s) + length(list) + length(obj) + length(nothing)", 8),
        ("join(fromJson('[1, \"b\", null]'), '; ')", "1; b; "),
        ("join(list)", '1,2,{"c": "x"}'),
        ("if(n > 3, 'big', 1 / 0)", "big"),
        ("if(n > 9, 'big')", None),
        ("default(nothing, 'd')", "d"),
        ("default('', 'd')", ""),
        ("default(n, 1 / 0)", 5),
    ],
)
def test_evaluate(source: str, value: object) -> None:
    result = evaluate(source)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("tasks.a.outputs.b[0].c", [Reference(("tasks", "a", "outputs", "b", 0, "c"), 0)]),
        ("  prompt", [Reference(("prompt",), 2)]),
        ("x['y z'].w", [Reference(("x", "y z", "w"), 0)]),
        ("a[b]", [Reference(("a",), 0), Reference(("b",), 2)]),
        ("a[b.c].d", [Reference(("a",), 0), Reference(("b", "c"), 2)]),
        ("steps.a-b.c > n", [Reference(("steps", "a-b", "c"), 0), Reference(("n",), 14)]),
        ("if(a, upper(b), a)", [Reference(("a",), 3), Reference(("b",), 12), Reference(("a",), 16)]),
        ("1 + 'x'", []),
    ],
)
def test_references(source: str, references: list[Reference]) -> None:
    assert list(parse(source).references) == references


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("", "the expression is empty, expected a value", 0),
        ("n ==", "the expression ends too early, expected a value", 4),
        ("a.", "the expression ends too early, expected a name", 2),
        ("(a", "the expression ends too early, expected an operator or ')'", 2),
        ("a b", "found 'b', expected an operator or the end", 2),
        ("a = 1", "found '=', expected an operator; write '=='", 2),
        ("a and b", "found 'and', expected an operator or the end; write '&&' for 'and'", 2),
        ("not a", "found 'a', expected an operator or the end; write '!' for 'not'", 4),
        ("1 < n < 3", "found '<', expected an operator or the end; comparisons do not chain, join them with '&&'", 6),
        ("a == 'x", "found \"'\", expected a value; the text that starts with ' has no end", 5),
        ("[1]", "found '[', expected a value; there are no list literals", 0),
        ("a ? 1 : 2", "found '?', expected an operator; write if(condition, value, other)", 2),
        (
            "a.upper()",
            "found '(', expected an operator or the end; functions are written before their values, as in upper(name)",
            7,
        ),
        ("1 + {{ a }}", "found '{{ a }}' inside an expression; write the name without braces", 4),
        ("{{ a", "found '{', expected a value; '}}' is missing", 0),
        ("1 + uper(s)", "unknown function 'uper'; did you mean 'upper'?", 4),
        ("tojson(s)", "unknown function 'tojson'; did you mean 'toJson'?", 0),
        ("upper()", "'upper' takes 1 value, got 0", 0),
        ("replace(s, 'a')", "'replace' takes 3 values, got 2", 0),
        ("min()", "'min' takes at least 1 value, got 0", 0),
        ("round(1, 2, 3)", "'round' takes 1 or 2 values, got 3", 0),
        ("1e999", "the number is too large", 0),
        ("9" * 400, "the number is too large", 0),
    ],
)
def test_what_does_not_parse(source: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert str(caught.value) == message
    assert caught.value.offset == offset


def test_an_unknown_function_that_is_like_no_other_lists_them() -> None:
    with pytest.raises(ExpressionError, match=r"unknown function 'xyzzy'; there are ceil, contains, .*upper"):
        parse("xyzzy(1)")


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("1 / 0", "division by zero in '/'", 2),
        ("1 % 0", "division by zero in '%'", 2),
        ("upper(list)", "'upper' needs text, got a list", 0),
        ("n + nothing", "'+' needs numbers, text or lists, got a number and null", 2),
        ("n * s", "'*' needs numbers, got a number and text", 2),
        ("n - yes", "'-' needs numbers, got a number and a boolean", 2),
        ("-s", "'-' needs a number, got text", 0),
        ("1 + floor(s)", "'floor' needs a number, got text", 4),
        ("format('{} {}', 1)", "'format' has no value for '{}': it was given 1", 0),
        ("replace(s, '', 'x')", "'replace' needs a text to search for, got an empty one", 0),
        ("round(f, 16)", "'round' needs 0 to 15 digits, got 16", 0),
        ("max(1, 'a')", "'max' needs numbers only, or text only, got text among them", 0),
        ("min(fromJson('[]'))", "'min' needs at least one value, got an empty list", 0),
        ("length(n)", "'length' needs text, a list or an object, got a number", 0),
        ("join(n)", "'join' needs a list, got a number", 0),
        ("fromJson('[NaN]')", "'fromJson' got text that is no JSON: NaN is no JSON", 0),
        ("fromJson('[1e999]')", "'fromJson' got text that is no JSON: 1e999 is too large a number", 0),
        ("fromJson(list)", "'fromJson' needs text, got a list", 0),
        ("1e300 * 1e300", "the result is too large for a number", 6),
        ("contains(n, list)", "'contains' needs text, got a list", 0),
    ],
)
def test_what_cannot_be_evaluated(source: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source)
    assert str(caught.value) == message
    assert caught.value.offset == offset


def test_json_that_does_not_parse_tells_why() -> None:
    with pytest.raises(ExpressionError, match=r"'fromJson' got text that is no JSON: Expecting value: line 1"):
        evaluate("fromJson('nope')")


@pytest.mark.parametrize(
    "source",
    ["(" * 4_000 + "a" + ")" * 4_000, "a" + ".b" * 4_000],
)
def test_long_but_not_deep(source: str) -> None:
    assert parse(source).references[0].path[0] == "a"


@pytest.mark.parametrize(
    "source",
    ["!" * 9_000 + "a", "a" + "+a" * 4_000, "upper(" * 1_000 + "a" + ")" * 1_000, "a" + "[b" * 1_000 + "]" * 1_000],
)
def test_depth_is_bounded(source: str) -> None:
    with pytest.raises(ExpressionError, match=f"more than {MAX_DEPTH} levels deep"):
        parse(source)


def test_as_deep_as_allowed_can_be_evaluated_and_written() -> None:
    expression = parse("!" * (MAX_DEPTH - 1) + "n")
    assert expression.evaluate(resolve) is False
    assert parse(to_source(expression)) == expression


def test_source_length_is_bounded() -> None:
    with pytest.raises(ExpressionError, match="longer than 10,000 characters"):
        parse(" " * MAX_SOURCE + "a")


@pytest.mark.parametrize(
    "source",
    ["t + t", "replace(t, 'x', 'xxx')", "format('{0}{0}', t)", "join(fromJson('[1,2]'), t)", "toJson(t) + t"],
)
def test_text_size_is_bounded(source: str) -> None:
    huge = "x" * 6_000_000
    with pytest.raises(ExpressionError, match="longer than 10,000,000 characters"):
        parse(source).evaluate(lambda path: huge)


def test_list_size_is_bounded() -> None:
    huge = [0] * 600_000
    with pytest.raises(ExpressionError, match="more than 1,000,000 items"):
        parse("t + t").evaluate(lambda path: huge)


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "MAX_SECONDS", -1.0)
    for source in ("a + 1", "a == 1", "a < 1", "upper(s)"):
        with pytest.raises(
            ExpressionError, match=r"^the values take longer than -1 s to compute; use less, or smaller"
        ):
            evaluate(source)
    assert evaluate("obj.a.b") == 7


def test_a_list_is_not_joined_beyond_the_bound() -> None:
    class Endless(list[str]):
        def __iter__(self) -> Iterator[str]:
            return itertools.repeat("x" * 1_000_000)

    with pytest.raises(ExpressionError, match="longer than 10,000,000 characters"):
        parse("join(t)").evaluate(lambda path: Endless())


@pytest.mark.parametrize("source", ["obj[big]", "obj[0 - 10] || obj[big]"])
def test_a_number_of_thousands_of_digits_is_no_key(source: str) -> None:
    assert parse(source).evaluate(lambda path: {"a": 1} if path == ("obj",) else 10**5_000) is None


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**5_000], ids=["inf", "nan", "huge"])
@pytest.mark.parametrize("op", ["+", "-", "*", "/", "%"])
def test_what_is_no_number_is_not_computed_with(op: str, value: float) -> None:
    for source in (f"v {op} 2", f"2 {op} v", f"v {op} v"):
        with pytest.raises(ExpressionError, match="too large for a number"):
            parse(source).evaluate(lambda path: value)


def test_two_escapes_are_one_character() -> None:
    assert evaluate(r"""'\ud83d\ude00' + "\ud83d\ude00" """) == "\U0001f600" * 2


def test_values_nested_too_deep_are_an_expression_error() -> None:
    one: Any = []
    other: Any = []
    for _ in range(50_000):
        one, other = [one], [other]
    with pytest.raises(ExpressionError, match="nested too deep"):
        parse("a == b").evaluate(lambda path: one if path == ("a",) else other)
    while one:
        one, other = one.pop(), other.pop()


def test_only_what_is_needed_is_looked_up() -> None:
    asked: list[Path] = []
    parse("a && b || if(c, d, e)").evaluate(lambda path: asked.append(path))
    assert asked == [("a",), ("c",), ("e",)]


def test_a_plain_path_needs_no_parser_library() -> None:
    code = (
        "import sys; from airflow_llm_provider.workflow.expressions import parse; "
        "parse('workflow.inputs.prompt'); parse('steps.a-b.c[0].d'); assert 'lark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "source", ["a", "a.b.c", "steps.a-b.c", "steps.1st.x", "a[0].b[12]", "outputs.a--b", "trueish", "_x"]
)
def test_the_short_way_gives_the_same_tree(source: str) -> None:
    plain, full = parse(source), parse(f"({source})")
    assert plain == full
    assert isinstance(plain.root, Name)
    assert isinstance(full.root, Name)
    assert plain.root.offset + 1 == full.root.offset


@given(TREES)
def test_what_is_written_parses_to_the_same_tree(root: Node) -> None:
    expression = Expression(root, "", ())
    parsed = parse(to_source(expression))
    assert parsed == expression
    assert parse(to_source(parsed)) == parsed


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a",
            ".",
            "[",
            "]",
            "(",
            ")",
            "steps.a-b",
            "upper",
            "'",
            '"',
            "x'",
            "-",
            "+",
            "!",
            "=",
            "==",
            "<",
            "&&",
            "|",
            "{{",
            "}}",
            "$",
            " ",
            "1",
            "1e5",
            "\\",
            ",",
            "null",
        ]
    )
).map("".join)


@given(st.text() | FRAGMENTS)
def test_any_text_parses_or_is_an_expression_error(source: str) -> None:
    failure: ExpressionError | None = None
    try:
        expression = parse(source)
    except ExpressionError as error:
        failure = error
    if failure is not None:
        assert str(failure)
        assert failure.offset is not None
        assert 0 <= failure.offset <= len(source)
        return
    assert parse(to_source(expression)) == expression


@given(TREES)
def test_any_expression_gives_a_value_or_an_expression_error(root: Node) -> None:
    with contextlib.suppress(ExpressionError):
        Expression(root, "", ()).evaluate(resolve)


@pytest.mark.parametrize("name", ["__class__", "__init__", "__globals__", "keys", "append", "format", "real"])
@pytest.mark.parametrize("start", ["s", "n", "list", "obj", "f", "yes", "nothing"])
def test_no_attribute_of_python_is_reachable(start: str, name: str) -> None:
    assert evaluate(f"{start}.{name}") is None
    assert evaluate(f"{start}['{name}']") is None
    assert evaluate(f"if(true, {start}).{name}") is None
    assert evaluate(f"format('{{0.{name}}}', {start})") == f"{{0.{name}}}"

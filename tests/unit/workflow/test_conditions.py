from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import conditions
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.expressions import Path, Reference, Resolver
from airflow_llm_provider.workflow.values import get_item


def resolver(data: dict[str, Any]) -> Resolver:
    def resolve(path: Path) -> object:
        value: object = {"inputs": data, **data}
        for part in path:
            value = get_item(value, part)
        return value

    return resolve


def decide(source: str, **data: Any) -> bool:
    return parse_condition(source).evaluate(resolver(data))


def test_everything_public_exists() -> None:
    assert all(hasattr(conditions, name) for name in conditions.__all__)


@pytest.mark.parametrize(
    ("source", "data", "result"),
    [
        # templates are values
        ("{{ inputs.score }} > 5 && {{ kind }} == 'x'", {"score": 7, "kind": "x"}, True),
        ("{{ score }} > 5", {"score": "7"}, True),
        ("${{ score + 1 }} >= {{ least }}", {"score": 4, "least": 5}, True),
        ("(${{ a }} || {{ b }}) && !{{ c }}", {"b": 1}, True),
        ("{{gt n 5}} && {{len x}} == 2", {"n": 7, "x": [1, 2]}, True),
        ("{{{x}}} == {{& y}}", {"x": 1, "y": 1}, True),
        ("upper({{x}}) == 'A'", {"x": "a"}, True),
        ("${{ x == 'a}}b' }}", {"x": "a}}b"}, True),
        ("x == 'a' || tasks.t.outputs.ok", {"x": "b"}, False),
        # no value can change what the condition means
        ("{{x}} == 'a'", {"x": "b' || 'a' == 'a"}, False),
        ("{{x}} == 'a'", {"x": "{{y}}", "y": "a"}, False),
        # a tag without a value is null as well as empty text; an expression only null
        ("{{x}} == ''", {}, True),
        ("'' != {{x}}", {}, False),
        ("{{x}} == null", {}, True),
        ("{{x}} == null", {"x": ""}, False),
        ("x == ''", {}, False),
        # only text
        ("true", {}, True),
        ("TRUE", {}, True),
        ("Yes", {}, True),
        ("1", {}, True),
        ("No", {}, False),
        ("False", {}, False),
        ("0", {}, False),
        ("  ", {}, False),
        ("'no'", {}, False),
        ("'anything'", {}, True),
        ("{{x}}", {"x": "NO"}, False),
        ("{{x}}", {"x": " false "}, False),
        ("{{x}}", {"x": "0"}, False),
        ("{{x}}", {"x": "a < b"}, True),
        ("${{ x }}", {"x": "no"}, False),
        ("x", {"x": "no"}, False),
        ("x", {"x": "maybe"}, True),
        # only a value
        ("x", {}, False),
        ("x", {"x": []}, False),
        ("{{x}}", {"x": {"a": 1}}, True),
        # blocks
        ("{{#if x}}true{{else}}false{{/if}}", {"x": 1}, True),
        ("{{#if x}}true{{else}}false{{/if}}", {"x": 0}, False),
        ("{{#if (and x y)}} no {{/if}}", {"x": 1, "y": 1}, False),
        ("{{#each x}}{{this}}{{/each}}", {"x": ["n", "o"]}, False),
        ("{{#if x}}it's{{/if}}", {"x": 1}, True),
    ],
)
def test_evaluate(source: str, data: dict[str, Any], result: bool) -> None:
    assert decide(source, **data) is result


@pytest.mark.parametrize(
    ("source", "result"), [(True, True), (False, False), (1, True), (0, False), (0.0, False), (0.5, True)]
)
def test_a_boolean_or_number_is_its_own_answer(source: float, result: bool) -> None:
    condition = parse_condition(source)
    assert condition.evaluate(resolver({})) is result
    assert condition.references == ()


def test_references_stand_where_the_condition_has_them() -> None:
    source = "{{ outputs.score }} > 5 && ${{ steps.a-b.kind }} == x || {{eq y 'z'}}"
    assert parse_condition(source).references == (
        Reference(("outputs", "score"), source.index("outputs")),
        Reference(("steps", "a-b", "kind"), source.index("steps")),
        Reference(("x",), source.index("x ||")),
        Reference(("y",), source.index("y 'z'")),
    )
    blocks = "{{#if steps.a.ok}}yes{{/if}}"
    assert parse_condition(blocks).references == (Reference(("steps", "a", "ok"), 6),)


def test_a_word_that_names_nothing_is_text() -> None:
    condition = parse_condition("{{ kind }} == safe", known=lambda name: False)
    assert condition.warnings == ("'safe' names nothing and is read as text; write 'safe' in quotes",)
    assert condition.references == (Reference(("kind",), 3),)
    assert condition.evaluate(resolver({"kind": "safe"})) is True
    assert condition.evaluate(resolver({"kind": "block"})) is False


def test_a_word_that_names_something_is_a_reference() -> None:
    condition = parse_condition("kind != other", known=lambda name: name == "kind")
    assert condition.references == (Reference(("kind",), 0),)
    assert len(condition.warnings) == 1
    assert condition.evaluate(resolver({"kind": "other"})) is False


def test_a_word_that_turns_out_to_have_a_value_is_that_value() -> None:
    condition = parse_condition("kind == safe", known=lambda name: False)
    assert condition.evaluate(resolver({"kind": "safe"})) is True
    assert condition.evaluate(resolver({"kind": "block"})) is False


@pytest.mark.parametrize(
    "source", ["a > b", "a.b == 1", "upper(a) == 'A'", "a && b", "a", "{{ a }} == 'x'", "${{ a == b }}"]
)
def test_only_bare_words_beside_an_equality_can_be_text(source: str) -> None:
    assert parse_condition(source, known=lambda name: False).warnings == ()


def test_without_a_list_of_names_every_word_is_a_reference() -> None:
    condition = parse_condition("kind == safe")
    assert condition.warnings == ()
    assert [reference.path for reference in condition.references] == [("kind",), ("safe",)]


def test_a_quoted_tag_is_text_with_a_warning() -> None:
    condition = parse_condition("'{{ x }}' == 'a'")
    assert condition.warnings == ("'{{ x }}' is in quotes and therefore not filled in; write it without the quotes",)
    assert condition.references == ()
    assert condition.evaluate(resolver({"x": "a"})) is False


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("{{bad", "found '{', expected a value; '}}' is missing", 0),
        ("a = 'b'", "found '=', expected an operator; write '=='", 2),
        ("{{x}} {{y}}", "found '{', expected an operator or the end", 6),
        ("a == {{ eq 1 }}", "helper 'eq' takes 2 values, got 1", 8),
        ("a == ${{ 1 + }}", "the expression ends too early, expected a value", 13),
        ("a == {{! nothing }}", "'{{! nothing }}' has no value", 5),
        (
            "{{#if x}}1{{/if}} > 0",
            "found '>' beside a template with blocks; write the whole condition as one expression",
            None,
        ),
        ("{{#if x}}true", "'#if' is not closed; '{{/if}}' is missing", 0),
    ],
)
def test_what_does_not_parse(source: str, message: str, offset: int | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_condition(source)
    assert str(caught.value) == message
    assert caught.value.offset == offset


def test_source_length_is_bounded() -> None:
    with pytest.raises(ExpressionError, match="longer than 10,000 characters"):
        parse_condition("{{#if a}}" + "x" * 10_000 + "{{/if}}")


def test_a_condition_that_cannot_be_evaluated() -> None:
    with pytest.raises(ExpressionError, match="division by zero"):
        decide("1 / {{ n }} > 2", n=0)


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["{{", "}}", "${{", "a", "==", "'", " ", "!", "#if ", "{{a}}", "{{#if a}}", "{{/if}}", "yes", "&&", "("]
        )
    ).map("".join)
)
def test_any_text_is_a_condition_or_an_expression_error(source: str) -> None:
    with contextlib.suppress(ExpressionError):
        condition = parse_condition(source, known=lambda name: False)
        assert condition.evaluate(resolver({"a": "x"})) in (True, False)


@given(st.text())
def test_a_value_is_only_ever_a_value(text: str) -> None:
    assert decide("{{ x }} == 'marker'", x=text) is (text == "marker")

"""What holds for every expression, template and condition, over every value."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.expressions import MAX_SOURCE, Expression, Path, Resolver, parse, to_source
from airflow_llm_provider.workflow.handlebars import parse as parse_handlebars
from airflow_llm_provider.workflow.syntax import Node
from airflow_llm_provider.workflow.templates import render
from airflow_llm_provider.workflow.values import get_item, to_text, truthy
from tests.unit.workflow.strategies import SCOPES, TEXTS, TREES, VALUES

free = settings(deadline=None)


def resolver(scope: Mapping[str, Any]) -> Resolver:
    def resolve(path: Path) -> object:
        value: object = dict(scope)
        for part in path:
            value = get_item(value, part)
        return value

    return resolve


def is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(member) for key, member in value.items())
    return all(map(is_json, value)) if isinstance(value, list) else type(value) in (type(None), bool, int, float, str)


# The parts of templates: `{{ }}` over paths and helpers, `${{ }}`, blocks around more of them.
PATHS = st.sampled_from(
    ["a", "b.a", "a.[0]", "this.a", "../a", "@root.b", "@index", "@key", "[x y]", "steps.s-1.a", "a.__class__"]
)
ARGUMENTS = st.recursive(
    PATHS | st.sampled_from(["1", "-2.5", "true", "null", "'x'", '"}}"']),
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "lookup"]),
            inner,
            inner,
        ),
        st.builds("({} {})".format, st.sampled_from(["not", "len"]), inner),
    ),
    max_leaves=4,
)
TAGS = st.one_of(
    st.builds("{{{{{}}}}}".format, PATHS),
    st.builds("{{{{{{{}}}}}}}".format, PATHS),
    st.builds("{{{{#if {}}}}}x{{{{/if}}}}".format, ARGUMENTS),
    TREES.map(lambda tree: "${{ " + tree.write() + " }}"),
    st.sampled_from(["text", "\n", "{", "\\", "{{~! ~}}", "{{{{raw}}}}{{a}}{{{{/raw}}}}"]),
)
TEMPLATES = st.recursive(
    TAGS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.builds("{{{{#each {}}}}}{}{{{{else}}}}{}{{{{/each}}}}".format, PATHS, inner, inner),
        st.builds("{{{{#each {} as |b a|}}}}{}{{{{/each}}}}".format, PATHS, inner),
        st.builds("{{{{#with {}}}}}{}{{{{/with}}}}".format, PATHS, inner),
        st.builds("{{{{#unless {}}}}}{}{{{{else if {}}}}}{}{{{{/unless}}}}".format, ARGUMENTS, inner, ARGUMENTS, inner),
    ),
    max_leaves=5,
)


@free
@given(TREES, SCOPES)
def test_an_expression_gives_json_or_an_expression_error(tree: Node, scope: dict[str, Any]) -> None:
    with contextlib.suppress(ExpressionError):
        assert is_json(Expression(tree, "", ()).evaluate(resolver(scope)))


@free
@given(TREES, SCOPES)
def test_what_is_written_means_the_same(tree: Node, scope: dict[str, Any]) -> None:
    outcomes = []
    for expression in (Expression(tree, "", ()), parse(to_source(Expression(tree, "", ())))):
        try:
            outcomes.append(repr(expression.evaluate(resolver({**scope, "big": 1}))))
        except (ExpressionError, ValueError) as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@free
@given(TEMPLATES, SCOPES)
def test_a_template_gives_text_or_an_expression_error(template: str, scope: dict[str, Any]) -> None:
    with contextlib.suppress(ExpressionError):
        assert isinstance(parse_handlebars(template).render(resolver(scope)), str)
    with contextlib.suppress(ExpressionError):
        assert is_json(render({"x": [template]}, resolver(scope)))


@free
@given(TREES | TEMPLATES, SCOPES)
def test_a_condition_gives_an_answer_or_an_expression_error(source: Node | str, scope: dict[str, Any]) -> None:
    text = source if isinstance(source, str) else source.write()
    with contextlib.suppress(ExpressionError):
        condition = parse_condition(text, known=scope.__contains__)
        assert condition.evaluate(resolver(scope)) in (True, False)


@free
@given(st.text(max_size=30), st.integers(1, MAX_SOURCE), TEXTS, TEXTS)
@example("'\\'", MAX_SOURCE, "", "!")
@example("(", MAX_SOURCE, "", "")
@example("{{#if a}}", MAX_SOURCE, "", "")
@example("{{a}}", MAX_SOURCE, "", "{{")
@example("a!", MAX_SOURCE, "", "$")
@example("\\{{", MAX_SOURCE, "${{", "'")
def test_no_text_does_more_harm_than_an_expression_error(piece: str, length: int, before: str, after: str) -> None:
    text = before + (piece * (length // max(len(piece), 1)))[: MAX_SOURCE - len(before) - len(after)] + after
    resolve = resolver({"a": "x"})
    for use in (
        lambda: parse(text).evaluate(resolve),
        lambda: parse_condition(text, known=lambda name: False).evaluate(resolve),
        lambda: parse_condition(text).evaluate(resolve),
        lambda: render(text, resolve),
        lambda: parse("fromJson(a)").evaluate(lambda path: text),
        lambda: parse("format(a, 1, a)").evaluate(lambda path: text),
    ):
        with contextlib.suppress(ExpressionError):
            use()


ATTRIBUTES = sorted({*dir(object), *dir(str), *dir(dict), *dir(list), *dir(type), "__globals__", "__code__", "mro"})


@free
@given(st.sampled_from(ATTRIBUTES), VALUES, st.sampled_from(["", ".__class__", "[0]", ".mro"]))
def test_no_attribute_of_python_is_reachable(name: str, value: Any, more: str) -> None:
    inside = value.get(name) if isinstance(value, dict) else None
    resolve = resolver({"v": value})
    for source in (f"v.{name}", f"v['{name}']", f"if(true, v).{name}", f"v[format('{{}}', '{name}')]"):
        assert parse(source).evaluate(resolve) is inside
    assert parse(f"format('{{0.{name}}}{{0[{name}]}}{{0!r}}{{:>9}}', v)").evaluate(resolve) == (
        f"{{0.{name}}}{{0[{name}]}}{{0!r}}{{:>9}}"
    )
    if inside is None:
        assert parse(f"v.{name}{more}").evaluate(resolve) is None
        assert render(f"<{{{{v.{name}{more.replace('[0]', '.[0]')}}}}}>{{{{lookup v '{name}'}}}}", resolve) == "<>"


@free
@given(TEXTS)
def test_a_text_is_never_read_again(text: str) -> None:
    resolve = resolver({"v": text, "o": {"t": text}, "l": [text, text]})
    assert render(["{{ v }}", "${{ o.t }}", "{{{ l.[1] }}}", " {{& v }} "], resolve) == [text] * 4
    assert render("<{{v}}|${{ v }}|{{#with o}}{{t}}{{/with}}|{{lookup o 't'}}>", resolve) == f"<{'|'.join([text] * 4)}>"
    assert render("{{#each l as |x|}}<{{x}}>{{/each}}", resolve) == f"<{text}>" * 2
    assert render('{{#*inline "p"}}<{{t}}>{{/inline}}{{> p o}}', resolve) == f"<{text}>"
    assert render("<${{ join(l, v) }}>", resolve) == f"<{text}{text}{text}>"
    assert render("<${{ replace('x', 'x', v) }}>", resolve) == f"<{text}>"
    assert render("<${{ format('{} {0} ${v}', v, v) }}>", resolve) == f"<{text} {text} {text}>"


@free
@given(VALUES)
def test_a_text_that_is_one_tag_keeps_the_type(value: Any) -> None:
    resolve = resolver({"v": value, "o": {"v": value}})
    for template in (
        "{{v}}",
        " {{ o.v }}\n",
        "${{ v }}",
        "${{ (v) }}",
        "{{{v}}}",
        "{{& v}}",
        "{{~v~}}",
        "{{! why }}{{v}}",
    ):
        assert render(template, resolve) is value
    with contextlib.suppress(ExpressionError):
        assert render("{{v}}!", resolve) == f"{to_text(value)}!"


@free
@given(VALUES)
def test_a_condition_sees_the_value_and_not_its_text(value: Any) -> None:
    resolve = resolver({"v": value})
    if not isinstance(value, str):
        assert parse_condition("{{ v }}").evaluate(resolve) is truthy(value)
    assert parse_condition("'<' == {{ v }}").evaluate(resolve) is (value == "<")
    assert parse_condition("{{ v }} == 'x' || true").evaluate(resolve) is True

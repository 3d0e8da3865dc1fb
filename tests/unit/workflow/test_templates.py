from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path as FilePath
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import templates
from airflow_llm_provider.workflow.expressions import Path, Reference
from airflow_llm_provider.workflow.model import Source, Workflow
from airflow_llm_provider.workflow.names import Names
from airflow_llm_provider.workflow.templates import is_template, parse_template, render, walk_texts
from airflow_llm_provider.workflow.texts import value_texts
from airflow_llm_provider.workflow.values import get_item, to_text

WORKFLOWS = FilePath(__file__).parents[4] / "shared" / "corpus" / "workflows"

DATA: dict[str, Any] = {
    "n": 5,
    "f": 1.0,
    "t": True,
    "none": None,
    "list": [1, {"a": "b"}],
    "obj": {"k": [1]},
    "s": " text ",
}

BRACES = st.sampled_from(
    ["{{n}}", "${{ n }}", "{% x %}", "{{#if n}}", "\\{{n}}", "{{{{raw}}}}", "'", '"', "}}", "{#", "~", "\n"]
)
TEXTS = st.text() | st.lists(st.text(max_size=3) | BRACES).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def resolve(path: Path) -> object:
    value: object = DATA
    for part in path:
        value = get_item(value, part)
    return value


def test_everything_public_exists() -> None:
    assert all(hasattr(templates, name) for name in templates.__all__)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ n }}", 5),
        ("{{ n }}", 5),
        (" \n{{n}}\n", 5),
        ("{{{ list }}}", [1, {"a": "b"}]),
        ("{{& obj }}", {"k": [1]}),
        ("{{~ f ~}}", 1.0),
        ("${{ n > 3 }}", True),
        ("{{ none }}", None),
        ("${{ missing.x }}", None),
        ("  {{ s }}  ", " text "),
        ("{{! why }}{{ n }}", 5),
        ("{{n}}{{n}}", "55"),
        ("n={{ n }}", "n=5"),
        ("{{ list }} {{ obj.k }}", '[1, {"a": "b"}] [1]'),
        ("{{ len list }}", "2"),
        ("{{#if t}}{{ n }}{{/if}}", "5"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_what_is_one_tag_keeps_its_type(text: str, value: object) -> None:
    result = parse_template(text).render(resolve)
    assert result == value
    assert type(result) is type(value)


def test_nested_values() -> None:
    value = {"a {{n}}": ["{{ n }}", "n: ${{ n }}", 7, None, {"deep": ("{{ list }}",)}], "b": False}
    assert render(value, resolve) == {"a {{n}}": [5, "n: 5", 7, None, {"deep": [[1, {"a": "b"}]]}], "b": False}


NOTHING = Names(Workflow("w", "w", (), Source(None, "", 0, "steps")))


def test_references_in_nested_values() -> None:
    value = {"a": ["x {{ n }}", {"b": "${{ steps.s-1.out + n }}"}], "c": "{{#each list}}{{a}}{{/each}}", "d": 5}
    found = [(text.location, text.parse()[0]) for text in value_texts(value, ("at",), NOTHING)]
    assert found == [
        (("at", "a", 0), (Reference(("n",), 5),)),
        (("at", "a", 1, "b"), (Reference(("steps", "s-1", "out"), 4), Reference(("n",), 20))),
        (("at", "c"), (Reference(("list",), 8),)),
    ]


def test_texts_in_nested_values() -> None:
    assert list(walk_texts({"a": ["x", 1, {"b": "y"}], "c": "z"})) == [
        (("a", 0), "x"),
        (("a", 2, "b"), "y"),
        (("c",), "z"),
    ]


@pytest.mark.parametrize(
    ("text", "answer"), [("{{a}}", True), ("x ${{ a }}", True), ("{a} ${a} }}", False), ("", False)]
)
def test_is_template(text: str, answer: bool) -> None:
    assert is_template(text) is answer


def test_errors_are_expression_errors() -> None:
    for bad in ("{{#if}}", "${{ 1 + }}", "{{"):
        with pytest.raises(ExpressionError):
            render({"a": [bad]}, resolve)


@given(VALUES)
def test_a_value_alone_comes_out_as_it_went_in(value: Any) -> None:
    for template in ("{{ v }}", "${{ v }}", " {{{v}}} ", "{{~v~}}"):
        assert render(template, lambda path: value) is value


@given(VALUES, st.text(st.characters(exclude_characters="{\\$")), st.text(st.characters(exclude_characters="{\\$")))
def test_a_value_inside_text_is_never_looked_at_again(value: Any, before: str, after: str) -> None:
    text = to_text(value)
    for tag in ("{{ v }}", "${{ v }}", "{{{v}}}"):
        assert render(f"x{before}{tag}{after}x", lambda path: value) == f"x{before}{text}{after}x"
    assert render("x {{~v~}} x{{v}}", lambda path: value) == f"x{text}x{text}"
    assert render("{{#each v}}<{{this}}>{{/each}}.", lambda path: [value, value]) == f"<{text}><{text}>."


@given(TEXTS)
def test_text_goes_through_an_expression_unchanged(text: str) -> None:
    assert render("a${{ v + '' }}b${{ format('{}', v) }}", lambda path: text) == f"a{text}b{text}"


@given(st.text())
def test_any_text_parses_or_is_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        render(text, resolve)


def test_a_template_of_paths_needs_no_parser_library() -> None:
    code = (
        "import sys; from airflow_llm_provider.workflow.templates import render; "
        "render(['{{ a.b }} x', '${{ workflow.inputs.prompt }}', '{{#if a}}b{{/if}}'], lambda path: 1); "
        "assert not {'lark', 'pydantic', 'airflow', 'difflib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not WORKFLOWS.is_dir(), reason=f"the corpus is not beside the project: {WORKFLOWS}")
@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_text_of_the_corpus_parses(path: FilePath) -> None:
    for document in yaml.safe_load_all(path.read_text("utf-8")):
        for text in value_texts(document, (), NOTHING):
            for reference in text.parse()[0]:
                assert all(isinstance(part, (str, int)) for part in reference.path)

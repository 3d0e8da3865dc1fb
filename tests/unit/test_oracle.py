"""What the published program answered to templates, conditions and files, line by line, and where the language says something else.

Every line is run. A line that is answered otherwise stands in one of the tables of differences with the rule that makes it so; one
that is not answered otherwise must not stand there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.syntax import Path, Resolver
from airflow_llm_provider.workflow.templates import parse_template
from airflow_llm_provider.workflow.values import get_item, to_text
from dag_factory import read_text
from tests.conftest import CORPUS

ORACLE = CORPUS / "oracle"

pytestmark = pytest.mark.skipif(not ORACLE.is_dir(), reason="the oracle's answers are not beside this checkout")


@dataclass(frozen=True)
class Difference:
    """A line that is answered otherwise than the oracle did.

    Attributes:
        answer: Our answer: the text, true or false, or whether the file is valid.
        rule: What the language says.
    """

    answer: str | bool
    rule: str


_JSON = "inside text, lists and objects render as JSON"
_REFERENCE = "in a condition, a tag is a reference and not text put in its place"

TEMPLATES = {
    "{{obj}}": Difference('{"b": 1, "a": {"z": 2}}', f"{_JSON}, also as text of the whole"),
    "{{emptya}}|{{emptyo}}|{{emptys}}": Difference("[]|{}|", _JSON),
    "{{#each arr}}{{@index}}:{{this}};{{/each}}": Difference('0:x;1:1;2:2.5;3:;4:true;5:["y"];6:{"k": "v"};', _JSON),
}

CONDITIONS = {
    ("{{n}} > 5", '{"n": 1}'): Difference(False, "a condition is an expression, with all its operators"),
    ("!{{x}}", '{"x": "true"}'): Difference(False, "a condition is an expression, with all its operators"),
    ("{{n}} == 5", '{"n": 5.0}'): Difference(True, f"{_REFERENCE}, and numbers are compared by value"),
    ("{{x}} == null", '{"x": null}'): Difference(True, f"{_REFERENCE}, and a missing value is null"),
    ("{{x}} == '[a, b]'", '{"x": ["a", "b"]}'): Difference(False, f"{_REFERENCE}, and a list is not its text"),
}

FILES = {
    "branch w/ condition+branches": Difference(
        True, "the plan form of the steps notation has `condition` + `branches`"
    ),
    "output string": Difference(True, "the plan form of the steps notation writes `output: name`"),
    "parallel empty tasks": Difference(False, "a step does real work: nothing is a silent no-op"),
    "type vector_search ok": Difference(
        False, "inputs of executors are checked: there is no such store, and a written text is no vector"
    ),
    "unknown top-level + step keys": Difference(False, "unknown keys are errors that name the key"),
    "timeout float": Difference(True, "a duration is a number of seconds, or a text such as 500ms"),
    "empty id": Difference(False, "an id has at least one character: references and task ids are made of it"),
}

COMPLETED = {"provider: o,": "provider: scripted,", "action: log}": "action: log, message: m}"}
"""What the oracle does not look at and is an error to us, which would hide what a case is about."""


def lines(name: str) -> list[dict[str, Any]]:
    """Give the lines of one file; none where the oracle is missing."""
    path = ORACLE / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def resolver(inputs: dict[str, Any]) -> Resolver:
    def resolve(path: Path) -> object:
        value: object = {"inputs": inputs, **inputs}
        for part in path:
            value = get_item(value, part)
        return value

    return resolve


def settled(expected: object, answer: object, difference: Difference | None) -> None:
    """Compare an answer with the oracle's, or with the difference that is known."""
    if difference is None:
        assert answer == expected
    else:
        assert answer == difference.answer
        assert answer != expected, f"no difference any more: {difference.rule}"


@pytest.mark.parametrize("case", lines("templates.jsonl")[1:], ids=lambda case: case["template"])
def test_template(case: dict[str, Any]) -> None:
    source = case["template"]
    if "error" in case:
        assert source not in TEMPLATES
        with pytest.raises(ExpressionError):
            parse_template(source)
        return
    inputs = lines("templates.jsonl")[0]["_inputs_for_all"]
    answer = to_text(parse_template(source).render(resolver(inputs)))
    settled(case["rendered"], answer, TEMPLATES.get(source))


@pytest.mark.parametrize("case", lines("conditions.jsonl"), ids=lambda case: case["condition"])
def test_condition(case: dict[str, Any]) -> None:
    source, inputs = case["condition"], case["inputs"]
    difference = CONDITIONS.get((source, json.dumps(inputs)))
    if case["result"] is None:
        assert difference is None
        with pytest.raises(ExpressionError):
            parse_condition(source)
        return
    answer = parse_condition(source).evaluate(resolver(inputs))
    settled(case["result"] == "Completed", answer, difference)


@pytest.mark.parametrize("case", lines("validate.jsonl"), ids=lambda case: case["case"])
def test_file(case: dict[str, Any]) -> None:
    text = case["yaml"]
    for written, complete in COMPLETED.items():
        text = text.replace(written, complete)
    settled(case["exit"] == 0, not read_text("v.yaml", text).errors, FILES.get(case["case"]))


def test_every_difference_is_a_line() -> None:
    assert TEMPLATES.keys() <= {case["template"] for case in lines("templates.jsonl")[1:]}
    assert CONDITIONS.keys() <= {(case["condition"], json.dumps(case["inputs"])) for case in lines("conditions.jsonl")}
    assert FILES.keys() <= {case["case"] for case in lines("validate.jsonl")}

"""The JSON Schema: what the reader takes it takes, what is wrong it refuses, and a strict validator has nothing against it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import dag_factory
from airflow_llm_provider.engine.executor import executor_names
from airflow_llm_provider.files.documents import decode, parse
from dag_factory import read_text
from dag_factory.authoring.schema import SCHEMA_FILE, schema_text, workflow_schema
from tests.conformance.cases import CASES, Case
from tests.conftest import CORPUS, EXAMPLES

SHIPPED = Path(dag_factory.__file__).with_name(SCHEMA_FILE)

VALIDATOR = jsonschema.Draft7Validator(json.loads(SHIPPED.read_text("utf-8")))


def refusals(text: str) -> list[str]:
    documents = parse("workflow.yaml", text).documents
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for document in documents
        for error in VALIDATOR.iter_errors(document.data)
    ]


def test_the_shipped_file_is_that_of_the_models() -> None:
    expected = schema_text(workflow_schema(executor_names(own=True)))
    assert SHIPPED.read_text("utf-8") == expected, (
        f"{SHIPPED.name} is stale; write it anew with: llm-orchestrator schema --own --output dag_factory/{SHIPPED.name}"
    )


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    assert refusals(path.read_text("utf-8")) == []


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published workflow files is not beside this checkout")
@pytest.mark.parametrize("path", sorted((CORPUS / "workflows").glob("*.yaml")), ids=lambda path: path.stem)
def test_published_files(path: Path) -> None:
    text, errors = decode(str(path), path.read_bytes())
    assert not errors
    assert refusals(text) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance_cases(case: Case) -> None:
    assert refusals(case.text) == []


STEPS: Mapping[str, Any] = {
    "name": "w",
    "inputs": [{"name": "n", "type": "integer"}],
    "steps": [
        {"id": "a", "type": "llm", "provider": "openai", "model": "m", "prompt": "p", "retry": {"max_attempts": 2}},
        {"id": "b", "type": "parallel", "tasks": [{"id": "c", "type": "action", "action": "log", "message": "m"}]},
        {"id": "f", "type": "orchestrator:fan-out", "items": [1], "task_template": {"type": "llm", "model": "m"}},
    ],
    "outputs": {"x": {"value": "{{ steps.a }}"}},
    "events": {"onSuccess": [{"type": "deadletter"}]},
}

V1: Mapping[str, Any] = {
    "apiVersion": "orchestrator.llm/v1",
    "kind": "CronWorkflow",
    "metadata": {"name": "w"},
    "spec": {
        "schedule": "@daily",
        "config": {"timeout": "5m"},
        "tasks": [
            {
                "id": "a",
                "executor": "llm-forge:openai",
                "inputs": {"prompt": "p", "config": {"model": "m", "temperature": 1}},
                "outputs": {"answer": "string"},
            }
        ],
    },
}

Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Wrong:
    name: str
    document: Mapping[str, Any]
    change: Change


WRONG = [
    Wrong("unknown key", STEPS, lambda w: w.update(nmae="w")),
    Wrong("no name", STEPS, lambda w: w.pop("name")),
    Wrong("no steps", STEPS, lambda w: w.update(steps=[])),
    Wrong("steps are no list", STEPS, lambda w: w.update(steps={})),
    Wrong("timeout", STEPS, lambda w: w.update(timeout_seconds=0)),
    Wrong("duration", STEPS, lambda w: w.update(timeout_seconds="soon")),
    Wrong("failure policy", STEPS, lambda w: w.update(failure_policy="explode")),
    Wrong("type of an input", STEPS, lambda w: w["inputs"][0].update(type="sometimes")),
    Wrong("key of an input", STEPS, lambda w: w["inputs"][0].update(min=1)),
    Wrong("step without id", STEPS, lambda w: w["steps"][0].pop("id")),
    Wrong("unknown type", STEPS, lambda w: w["steps"][0].update(type="lmm")),
    Wrong("unknown key of a step", STEPS, lambda w: w["steps"][0].update(promt="p")),
    Wrong("temperature", STEPS, lambda w: w["steps"][0].update(temperature=3)),
    Wrong("condition", STEPS, lambda w: w["steps"][0].update(condition=["a"])),
    Wrong("on_error", STEPS, lambda w: w["steps"][0].update(on_error="ignore")),
    Wrong("tries", STEPS, lambda w: w["steps"][0]["retry"].update(max_attempts=0)),
    Wrong("key of a retry", STEPS, lambda w: w["steps"][0]["retry"].update(max_atempts=1)),
    Wrong("key of a group", STEPS, lambda w: w["steps"][1].update(prompt="p")),
    Wrong("empty group", STEPS, lambda w: w["steps"][1].update(tasks=[])),
    Wrong("type inside a group", STEPS, lambda w: w["steps"][1]["tasks"][0].update(type="acton")),
    Wrong("mode of a fan-out", STEPS, lambda w: w["steps"][2].update(on_item_error="explode")),
    Wrong("type of a template", STEPS, lambda w: w["steps"][2]["task_template"].update(type="lmm")),
    Wrong("key of an output", STEPS, lambda w: w["outputs"]["x"].update(fallbak=1)),
    Wrong("unknown event", STEPS, lambda w: w["events"].update(onSucces=[])),
    Wrong("type of an event", STEPS, lambda w: w["events"]["onSuccess"][0].update(type="pigeon")),
    Wrong("version of v1", V1, lambda w: w.update(apiVersion="orchestrator.llm/v2")),
    Wrong("kind", V1, lambda w: w.update(kind="Cron")),
    Wrong("no kind", V1, lambda w: w.pop("kind")),
    Wrong("no name in v1", V1, lambda w: w["metadata"].pop("name")),
    Wrong("no schedule", V1, lambda w: w["spec"].pop("schedule")),
    Wrong("schedule of another kind", V1, lambda w: w.update(kind="Workflow")),
    Wrong("unknown key of spec", V1, lambda w: w["spec"].update(task=[])),
    Wrong("task without executor", V1, lambda w: w["spec"]["tasks"][0].pop("executor")),
    Wrong("unknown key of a task", V1, lambda w: w["spec"]["tasks"][0].update(depends_on=["b"])),
    Wrong("unknown input of a task", V1, lambda w: w["spec"]["tasks"][0]["inputs"].update(promt="p")),
    Wrong("unknown setting", V1, lambda w: w["spec"]["tasks"][0]["inputs"]["config"].update(modell="m")),
    Wrong("range of a setting", V1, lambda w: w["spec"]["tasks"][0]["inputs"]["config"].update(temperature=7)),
]


@pytest.mark.parametrize("document", [STEPS, V1], ids=["steps", "v1"])
def test_what_the_wrong_ones_are_made_of_is_right(document: Mapping[str, Any]) -> None:
    assert refusals(yaml.safe_dump(document)) == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_wrong_files(wrong: Wrong) -> None:
    document = copy.deepcopy(wrong.document)
    wrong.change(document)
    text = yaml.safe_dump(document)
    assert refusals(text)
    assert read_text("wrong.yaml", text).errors


ANY = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})

KEYWORDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("minLength", "maxLength", "pattern"), frozenset({"string"})),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), frozenset({"number", "integer"})
    ),
    **dict.fromkeys(("items", "minItems", "maxItems", "uniqueItems", "contains"), frozenset({"array"})),
    **dict.fromkeys(
        (
            "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
            "maxProperties",
        ),
        frozenset({"object"}),
    ),
    **dict.fromkeys(
        (
            "$schema", "$ref", "$defs", "title", "description", "default", "examples", "type", "enum", "const", "writeOnly",
            "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
        ),
        ANY,
    ),
}  # fmt: skip
"""Keyword of draft 7 to the types of value that it says something about."""


def strictness(
    schema: Any, place: str = "#", types: frozenset[str] = frozenset(), known: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Walk over what Ajv refuses in its strict mode (https://ajv.js.org/strict-mode.html), union types aside.

    Args:
        schema: A schema, or a part of one.
        place: Where it stands.
        types: The types that a schema around it leaves to the same value.
        known: The properties that a schema around it names for the same value.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{place}: {schema!r} is no schema"
        return
    given = schema.get("type", ())
    own = frozenset([given] if isinstance(given, str) else given)
    if types and any(name not in types and not (name == "integer" and "number" in types) for name in own):
        yield f"{place}: type {given!r} is not among {sorted(types)}"
    types, known = own or types, known | schema.get("properties", {}).keys()
    for keyword, value in schema.items():
        if keyword not in KEYWORDS:
            yield f"{place}: unknown keyword {keyword!r}"
        elif KEYWORDS[keyword] != ANY and not KEYWORDS[keyword] & types:
            yield f"{place}: {keyword!r} needs type {sorted(KEYWORDS[keyword])}"
        if keyword == "required":
            yield from (f"{place}: required {name!r} is no property" for name in value if name not in known)
        elif keyword in ("allOf", "anyOf", "oneOf"):
            for index, inner in enumerate(value):
                yield from strictness(inner, f"{place}/{keyword}/{index}", types, known)
        elif keyword in ("if", "then", "else", "not"):
            yield from strictness(value, f"{place}/{keyword}", types, known)
        elif keyword in ("properties", "patternProperties", "$defs"):
            for name, inner in value.items():
                yield from strictness(inner, f"{place}/{keyword}/{name}")
        elif keyword in ("items", "additionalProperties", "contains", "propertyNames"):
            yield from strictness(value, f"{place}/{keyword}")
    if schema.keys() & {"then", "else"} and "if" not in schema:
        yield f"{place}: 'then' or 'else' without 'if'"
    if "if" in schema and not schema.keys() & {"then", "else"}:
        yield f"{place}: 'if' without 'then' and 'else'"


def test_a_strict_validator_takes_it() -> None:
    schema = workflow_schema()
    assert list(strictness(schema)) == []
    names = {f"#/$defs/{name}" for name in schema["$defs"]}
    assert set(references(schema)) <= names


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from ([schema["$ref"]] if isinstance(schema.get("$ref"), str) else [])
        schema = list(schema.values())
    for inner in schema if isinstance(schema, list) else []:
        yield from references(inner)


@dataclass(frozen=True)
class Loose:
    schema: Mapping[str, Any]
    finding: str


LOOSE = [
    Loose({"minimun": 1}, "#: unknown keyword 'minimun'"),
    Loose({"pattern": "a"}, "#: 'pattern' needs type ['string']"),
    Loose({"type": "object", "required": ["a"]}, "#: required 'a' is no property"),
    Loose({"type": "string", "anyOf": [{"type": "null"}]}, "#/anyOf/0: type 'null' is not among ['string']"),
    Loose({"if": True}, "#: 'if' without 'then' and 'else'"),
    Loose({"then": True}, "#: 'then' or 'else' without 'if'"),
]


@pytest.mark.parametrize("loose", LOOSE, ids=lambda loose: loose.finding)
def test_the_walk_sees(loose: Loose) -> None:
    assert list(strictness(loose.schema)) == [loose.finding]

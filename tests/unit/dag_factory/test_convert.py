"""Conversion: what is written in the other notation does the same, and what cannot be is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.files.documents import parse
from airflow_llm_provider.workflow.conditions import is_true, parse_condition
from airflow_llm_provider.workflow.model import Gate, Retry, Source, Step, Workflow
from dag_factory import read_file, read_text
from dag_factory.airflow_block import AirflowWorkflow
from dag_factory.authoring.convert import ConversionError, Target, convert, to_yaml
from dag_factory.authoring.flattening import flattened
from dag_factory.authoring.schema import workflow_schema
from tests.conformance.cases import CASES, Case, answers
from tests.conftest import CORPUS, EXAMPLES

SCHEMA = jsonschema.Draft7Validator(workflow_schema())

TARGETS: tuple[Target, ...] = ("steps", "v1")


PUBLISHED = sorted((CORPUS / "workflows").glob("*.yaml"))


def other(workflow: Workflow) -> Target:
    return "steps" if workflow.source.notation == "v1" else "v1"


def converted(workflow: Workflow, to: Target, beside: str = "") -> Workflow:
    text = to_yaml(convert(workflow, to))
    result = read_text("converted.yaml", text + beside)
    assert not result.errors, text + "\n".join(item.excerpt() for item in result.errors)
    return next(item for item in result.workflows if item.name == workflow.name)


def beside(case: Case) -> str:
    return "---\n" + yaml.safe_dump_all(case.beside, sort_keys=False) if case.beside else ""


def core(workflow: Workflow) -> Workflow:
    """Leave out where it was written, what only notes a default, and what v1 keeps of the name in ``metadata``."""
    workflow = flattened(workflow)
    metadata = {key: value for key, value in workflow.metadata.items() if key not in ("name", "version", "description")}
    return replace(
        workflow,
        source=Source(None, "", 0, ""),
        location=(),
        steps=tuple(map(placeless, workflow.steps)),
        outputs=tuple(replace(output, location=()) for output in workflow.outputs),
        events={moment: tuple(map(placeless, steps)) for moment, steps in workflow.events.items()},
        trigger=replace(workflow.trigger, location=()) if workflow.trigger else None,
        metadata={key: value for key, value in metadata.items() if value != {}},
        airflow=AirflowWorkflow.model_validate(workflow.airflow).model_dump(),
        uses={},
    )


def placeless(step: Step) -> Step:
    return replace(
        step,
        location=(),
        input_locations={},
        inputs={name: value for name, value in step.inputs.items() if value is not None},
        template=placeless(step.template) if step.template else None,
    )


def unable(workflow: Workflow, to: Target) -> bool:
    return to == "steps" and (workflow.is_template or workflow.trigger is not None)


def check_round_trip(workflow: Workflow, extra: str = "") -> None:
    first = core(workflow)
    for to in TARGETS:
        if unable(workflow, to):
            continue
        assert list(SCHEMA.iter_errors(parse("x.yaml", to_yaml(convert(workflow, to))).documents[0].data)) == []
        once = converted(workflow, to, extra)
        assert core(once) == first
        assert [[*step.outputs.items()] for step in once.steps] == [
            [*step.outputs.items()] for step in flattened(workflow).steps
        ]
        assert once.source.notation == to
        for back in TARGETS:
            if unable(workflow, back):
                continue
            assert core(converted(once, back, extra)) == first
        assert convert(once, to) == convert(workflow, to)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_there_and_back(case: Case) -> None:
    check_round_trip(case.read(), beside(case))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_there_and_back(path: Path) -> None:
    [workflow] = read_file(path).workflows
    check_round_trip(workflow)


@pytest.mark.skipif(not PUBLISHED, reason="the corpus of published workflow files is not beside this checkout")
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_files_there_and_back(path: Path) -> None:
    for workflow in read_file(path).workflows:
        check_round_trip(workflow)


async def run(workflow: Workflow, inputs: Mapping[str, Any], folder: Path) -> RunResult:
    credentials = Credentials(options={"answers": answers(0.5)})
    async with Runtime(
        settings=Settings(retry=Retry(initial_delay=0), outbox=folder),
        credentials=lambda provider, connection: credentials,
        offline=True,
    ) as runtime:
        return await run_workflow(workflow, inputs, runtime)


def ending(result: RunResult) -> dict[str, Any]:
    return {
        "state": result.state,
        "error": result.error,
        "states": {name: step.state for name, step in result.steps.items()},
        "outputs": {name: step.outputs for name, step in result.steps.items()},
        "results": result.outputs,
        "events": {event.step_id: event.state for event in result.events},
    }


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("case", [case for case in CASES if not case.overlapping], ids=lambda case: case.name)
async def test_conformance(case: Case, to: Target, tmp_path: Path) -> None:
    workflow = case.read()
    if unable(workflow, to):
        pytest.skip("an event workflow has no counterpart in the steps notation")
    written = converted(workflow, to, beside(case))
    if case.state == "refused":
        with pytest.raises(InvalidRequest):
            await run(written, case.inputs, tmp_path)
        return
    result = await run(written, case.inputs, tmp_path)
    assert {name: step.state for name, step in result.steps.items()} == case.states, result.error
    assert result.state == case.state
    if case.outputs is not None:
        assert result.outputs == case.outputs
    assert {event.step_id: event.state for event in result.events} == case.events
    if not case.beside:
        assert ending(result) == ending(await run(workflow, case.inputs, tmp_path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_examples_do_the_same(path: Path, tmp_path: Path) -> None:
    [workflow] = read_file(path).workflows
    inputs = json.loads(path.with_suffix(".input.json").read_text("utf-8"))
    written = converted(workflow, other(workflow))

    def plain(result: RunResult) -> dict[str, Any]:
        told = ending(result)
        # What differs from run to run: times and ids.
        told["outputs"] = {name: [*outputs] for name, outputs in told["outputs"].items()}
        return told

    assert plain(await run(written, inputs, tmp_path)) == plain(await run(workflow, inputs, tmp_path))


FULL = """\
name: full
version: "2"
description: Has everything.
inputs:
  - {name: n, type: integer, default: 3, minimum: 1, maximum: 9, description: A number.}
  - {name: kind, enum: [a, b]}
  - {name: go, type: boolean, required: true}
providers: {fast: {type: scripted, model: m}}
metadata: {team: web}
labels: {area: docs}
annotations: {governance.budget-limit-usd: 5}
timeout_seconds: 90.5
max_parallel: 3
failure_policy: failFast
airflow: {schedule: "0 6 * * *", timezone: Europe/Berlin, start_date: 2026-01-31, catchup: true, max_active_runs: 1, tags: [x]}
steps:
  - id: ask
    provider: fast
    prompt: "First line\\n\\n  second {{ inputs.n }}\\n"
    output: [answer, model, total]
    retry: {max_attempts: 4, backoff: linear, initial_delay: 70ms, max_delay: 2s, jitter: false, retryable_errors: [InvalidOutput]}
    timeout_seconds: 30
    on_error: {default: "yes"}
    airflow: {pool: llm, retries: 2, retry_delay: 5m}
  - {id: text, type: text-transform, operation: normalize, text: "{{ ask }}"}
  - id: route
    type: branch
    condition: "{{ inputs.kind }}"
    branches:
      a:
        - {id: sure, type: "orchestrator:assert", condition: "{{ inputs.n }} > 2", when: inputs.go}
        - id: both
          type: parallel
          condition: inputs.go
          max_concurrency: 1
          tasks:
            - {id: one, type: transform, function: concat, inputs: [plain text, ask.answer, "1e5"]}
            - {id: two, type: action, action: log, message: m, condition: tasks.sure.state == 'completed'}
    default: []
  - {id: last, type: llm, provider: scripted, model: m, prompt: p, output: {spent: usage, model: model}, after: [route]}
outputs:
  literal: {value: {value: 1}}
  answer: {value: "{{ ask.answer }}", fallback: none, transform: upper}
events:
  onSuccess:
    - {type: webhook, url: "https://example.com", retry: {max_attempts: 2}, timeout_seconds: 5}
    - {type: webhook, url: "https://example.com", body: {a: 1}}
    - {type: alert, severity: low, message: done}
"""


def test_everything_there_and_back() -> None:
    # The schedule has nobody to give `go`.
    result = read_text("full.yaml", FULL.replace("required: true", "default: true"))
    assert not result.errors, "\n".join(item.excerpt() for item in result.errors)
    [workflow] = result.workflows
    check_round_trip(workflow)
    document = convert(workflow, "v1")
    spec = document["spec"]
    tasks = {task["id"]: task for task in spec["tasks"]}
    assert (document["kind"], spec["concurrencyPolicy"], spec["schedule"]) == ("CronWorkflow", "Forbid", "0 6 * * *")
    assert document["metadata"]["labels"] == {"area": "docs"}
    assert tasks["ask"]["outputs"] == {"answer": "any", "model": "any", "total": {"from": "tokens"}}
    assert tasks["ask"]["retryPolicy"]["initialDelay"] == 70
    assert tasks["last"]["outputs"] == {"spent": {"from": "usage"}, "model": "any"}
    assert tasks["last"]["after"] == ["route", "sure", "one", "two", "both"]
    assert tasks["sure"]["condition"].startswith("({{ steps.[route] }} == 'a') && ((inputs.go) && ")
    assert spec["events"]["onSuccess"][0].keys() == {"type", "url", "retry", "timeout_seconds"}


def test_texts_of_several_lines_are_blocks() -> None:
    text = to_yaml({"prompt": "one\n\n  two: {{ x }}\n", "short": "a", "odd": ["no", "1e5", "08", "null", "", "a: b"]})
    assert text.startswith("prompt: |\n  one\n\n    two: {{ x }}\nshort: a\n")
    assert parse("x.yaml", text).documents[0].data["odd"] == ["no", "1e5", "08", "null", "", "a: b"]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn"), include_characters="\n\t")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc é1:#'\"", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_any_value_is_read_back(value: Any) -> None:
    [document] = parse("x.yaml", to_yaml({"value": value})).documents
    assert document.data == {"value": value}


OPERANDS = [
    "a",
    "!a",
    "a == 1",
    "a == 'no' || b",
    "{{ a }}",
    "${{ a != b }}",
    "yes",
    "No",
    "0",
    "",
    "only some prose",
    True,
    0,
]

WORDS: list[Any] = ["no", " NO ", "false", "0", "", "yes", "|", 0, 1, 0.0, True, False, None, [], [0], {}, {"a": 1}]


@pytest.mark.parametrize("negated", [(False, False), (False, True), (True, False), (True,)], ids=str)
def test_conditions_put_together(negated: tuple[bool, ...]) -> None:
    for first in OPERANDS:
        for second in OPERANDS:
            gates = tuple(Gate(text, no) for text, no in zip((first, second), negated, strict=False))
            step = Step("s", "s", "transform", {}, {"output": "result"}, gates=gates)
            [flat] = flattened(Workflow("w", "w", (step,), Source(None, "", 0, "steps"))).steps
            assert flat.condition is not None
            for a in WORDS:
                for b in (1, "no"):
                    values = {"a": a, "b": b}

                    def resolve(path: Any, values: Any = values) -> Any:
                        return values.get(path[0])

                    apart = all(
                        is_true(parse_condition(gate.condition).value(resolve)) is not gate.negated for gate in gates
                    )
                    assert parse_condition(flat.condition).evaluate(resolve) is apart, (gates, values, flat.condition)


@dataclass(frozen=True)
class Impossible:
    name: str
    text: str
    to: Target
    message: str


IMPOSSIBLE = [
    Impossible(
        "ids",
        "name: w\nsteps:\n  - {id: a b, type: action, action: log, message: m}\n  - {id: c.d, type: action, action: x}\n",
        "v1",
        "'w' cannot be converted to the v1 notation:\n"
        "  step 'a b': in v1 an id has no other characters than letters, digits, '_' and '-'\n"
        "  step 'c.d': in v1 an id has no other characters than letters, digits, '_' and '-'",
    ),
    Impossible(
        "template",
        "apiVersion: orchestrator.llm/v1\nkind: Template\nmetadata: {name: w}\n"
        "spec: {tasks: [{id: a, executor: action, inputs: {action: x}}]}\n",
        "steps",
        "'w' cannot be converted to the steps notation:\n"
        "  it is a Template, which has no DAG of its own; only v1 has that kind",
    ),
    Impossible(
        "key that means something else",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: w}\n"
        "spec: {tasks: [{id: a, executor: action, inputs: {action: x, name: Ann}}]}\n",
        "steps",
        "'w' cannot be converted to the steps notation:\n"
        "  step 'a': its input 'name' has the name of a key that means something else",
    ),
    Impossible(
        "metadata",
        "name: w\nmetadata: {name: v}\nsteps: [{id: a, type: action, action: x}]\n",
        "v1",
        "'w' cannot be converted to the v1 notation:\n"
        "  its metadata has a key 'name', which in v1 is the workflow's own name",
    ),
    Impossible(
        "blocks",
        "name: w\nsteps:\n  - id: g\n    type: parallel\n    condition: '{{#if x}}yes{{/if}}'\n"
        "    tasks: [{id: a, type: action, action: x, condition: y > 1}]\n",
        "v1",
        "'w' cannot be converted to the v1 notation:\n"
        "  step 'a': the conditions that it stands under cannot be put together: ",
    ),
    Impossible(
        "tool",
        "name: w\nsteps: [{id: a, type: 'llm-forge:tool', tool: '{{ x }}'}]\n",
        "v1",
        "'w' cannot be converted to the v1 notation:\n"
        "  step 'a': in v1 the name of a tool and those of its parameters are no templates",
    ),
]


@pytest.mark.parametrize("impossible", IMPOSSIBLE, ids=lambda impossible: impossible.name)
def test_what_cannot_be_said(impossible: Impossible) -> None:
    result = read_text("w.yaml", impossible.text)
    assert not result.errors
    with pytest.raises(ConversionError) as raised:
        convert(result.workflows[0], impossible.to)
    assert str(raised.value).startswith(impossible.message)

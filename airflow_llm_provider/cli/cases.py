"""Cases beside a workflow (``x.test.yaml``): what it must do for given inputs and given answers, without network and cost."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients.cassette import Player
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.clients.scripted import ScriptedClients
from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Rehearsal, Runtime
from airflow_llm_provider.errors import LLMProviderError
from airflow_llm_provider.evaluation.metrics import measure
from airflow_llm_provider.evaluation.values import MetricName, Subject
from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import decode, parse
from airflow_llm_provider.files.problems import Problems
from airflow_llm_provider.spelling import closest
from airflow_llm_provider.workflow.model import Step, Workflow
from airflow_llm_provider.workflow.values import to_text
from dag_factory.models import Model, Text, TextList
from dag_factory.read import read_file

__all__ = ["Case", "Outcome", "TestFile", "read_cases", "run_case"]

SUFFIXES = (".test.yaml", ".test.yml")


class Matcher(Model):
    """What a value must be like."""

    equals: Any = None
    contains: str | None = None
    matches: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def misfit(self, value: Any) -> str | None:
        """Say what keeps a value from being like that; None when nothing does."""
        text = to_text(value)
        if "equals" in self.model_fields_set and value != self.equals:
            return f"expected {self.equals!r}, got {value!r}"
        if self.contains is not None and self.contains not in text:
            return f"expected {self.contains!r} in it, got {text[:200]!r}"
        if self.matches is not None and not re.search(self.matches, text):
            return f"expected a match of {self.matches!r}, got {text[:200]!r}"
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if self.at_least is not None and (number is None or number < self.at_least):
            return f"expected at least {self.at_least:g}, got {value!r}"
        if self.at_most is not None and (number is None or number > self.at_most):
            return f"expected at most {self.at_most:g}, got {value!r}"
        return None


def _matcher(value: Any) -> Any:
    if isinstance(value, dict) and value and value.keys() <= Matcher.model_fields.keys():
        return value
    return {"equals": value}


Expected = Annotated[Matcher, BeforeValidator(_matcher)]


class Score(Model):
    """A metric of a step's first output."""

    metric: MetricName
    ground_truth: str | None = None
    at_least: float = Field(ge=0, le=1)


class Expectation(Model):
    """How a run must end."""

    state: str = "completed"
    error: str | None = None
    steps: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, Expected] = Field(default_factory=dict)
    events: dict[str, str] = Field(default_factory=dict)
    scores: dict[str, list[Score]] = Field(default_factory=dict)
    max_cost_usd: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)


class Case(Model):
    """One run of the workflow."""

    name: Text
    inputs: dict[str, Any] = Field(default_factory=dict)
    answers: list[Rule] = Field(default_factory=list)
    cassette: str | None = None
    stubs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    approve: TextList = Field(default_factory=list)
    secrets: dict[str, str] = Field(default_factory=dict)
    expect: Expectation = Expectation()

    @model_validator(mode="after")
    def _answered_once(self) -> Self:
        if self.answers and self.cassette:
            raise ValueError("give either 'answers' or 'cassette'")
        return self


class TestFile(Model):
    """A file of cases."""

    __test__ = False

    workflow: Text | None = None
    name: Text | None = None
    cases: list[Case] = Field(min_length=1)


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        file: The file of cases.
        name: The case.
        misfits: What is not as expected; empty when it passed.
        seconds: How long it took.
    """

    file: Path
    name: str
    misfits: tuple[str, ...]
    seconds: float


def read_cases(path: Path) -> tuple[TestFile | None, Workflow | None, tuple[Diagnostic, ...]]:
    """Read a file of cases, and the workflow that it is for.

    Args:
        path: The file.

    Returns:
        Both, or the errors.
    """
    text, errors = decode(str(path), path.read_bytes())
    parsed = parse(str(path), text)
    if errors or parsed.errors:
        return None, None, errors or parsed.errors
    document = parsed.documents[0]
    problems = Problems(document)
    file = problems.validate(TestFile, document.data, ())
    if file is None or problems.fatal:
        return None, None, tuple(problems.found)
    stem = next(path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix))
    beside = (
        [path.parent / file.workflow]
        if file.workflow
        else [path.parent / f"{stem}{end}" for end in (".yaml", ".yml", ".json")]
    )
    place = next((candidate for candidate in beside if candidate.is_file()), None)
    if place is None:
        problems.error(
            f"there is no workflow file {beside[0].name!r} beside it",
            ("workflow",),
            suggestion="name it under 'workflow'",
        )
        return None, None, tuple(problems.found)
    result = read_file(place)
    named = [workflow for workflow in result.workflows if file.name in (None, workflow.name)]
    if result.errors or not named:
        if not result.errors:
            problems.error(f"{place.name} holds no workflow {file.name!r}", ("name",))
        return None, None, (*result.errors, *problems.found)
    _check_stubs(file, named[0], problems)
    return (None, None, tuple(problems.found)) if problems.found else (file, named[0], ())


def _check_stubs(file: TestFile, workflow: Workflow, problems: Problems) -> None:
    outputs = {step.id: step.outputs for step in workflow.steps}
    for index, case in enumerate(file.cases):
        for step_id, stub in case.stubs.items():
            # Steps of a sub-workflow (a/b) and items of a fan-out (a[0]) are known only when they run.
            if "/" in step_id or "[" in step_id:
                continue
            place = ("cases", index, "stubs", step_id)
            if step_id not in outputs:
                problems.error(
                    f"the workflow has no step {step_id!r}", place, suggestion=closest(step_id, outputs), at_key=True
                )
                continue
            for name in stub.keys() - outputs[step_id].keys():
                problems.error(
                    f"step {step_id!r} has no output {name!r}",
                    (*place, name),
                    suggestion=closest(name, outputs[step_id]),
                    at_key=True,
                )


async def run_case(workflow: Workflow, case: Case, folder: Path) -> list[str]:
    """Run a case.

    Args:
        workflow: The workflow.
        case: The case.
        folder: Where its cassette is.

    Returns:
        What is not as expected.
    """

    async def ask(question: Question) -> Answer:
        return Answer(approved=question.step_id in case.approve or "*" in case.approve, by="the test")

    left_out = _LeftOut()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            async with Runtime(
                secret=case.secrets.get,
                ask=ask,
                observer=left_out,
                clients=Player(folder / case.cassette) if case.cassette else ScriptedClients(case.answers),
                rehearsal=Rehearsal(Path(scratch), case.stubs),
            ) as runtime:
                result = await run_workflow(workflow, case.inputs, runtime, user="test", run_id="test")
            misfits = [*_misfits(case.expect, result), *_low_scores(case.expect, result, workflow)]
            return [*misfits, *left_out.told] if misfits else []
        except LLMProviderError as error:
            told = f"{type(error).__name__}: {error}"
            if case.expect.state == "refused":
                return (
                    []
                    if (case.expect.error or "") in told
                    else [f"error: expected {case.expect.error!r} in it, got {told!r}"]
                )
            return [told]


class _LeftOut(Observer):
    def __init__(self) -> None:
        self.told: list[str] = []

    def step_left_out(self, step: Step) -> None:
        outputs = ", ".join(step.outputs)
        self.told.append(
            f"step {step.id} was left out, as it would reach out; 'stubs' may give its outputs ({outputs})"
        )


def _misfits(expect: Expectation, result: RunResult) -> list[str]:
    found = []
    if result.state != expect.state:
        found.append(f"state: expected {expect.state}, got {result.state} ({result.error})")
    if expect.error is not None and expect.error not in (result.error or ""):
        found.append(f"error: expected {expect.error!r} in it, got {result.error!r}")
    ended = {step_id: step.state for step_id, step in result.steps.items()}
    told = {event.step_id: event.state for event in result.events}
    wanted: tuple[tuple[str, Mapping[str, str], Mapping[str, str]], ...]
    wanted = (("step", expect.steps, dict(ended)), ("event", expect.events, dict(told)))
    for noun, states, got in wanted:
        found += [
            f"{noun} {name}: expected {state}, got {got.get(name, 'none of that name')}"
            for name, state in states.items()
            if got.get(name) != state
        ]
    for name, matcher in expect.outputs.items():
        if name not in result.outputs:
            found.append(f"output {name}: there is none; there are {', '.join(result.outputs) or 'none'}")
        elif misfit := matcher.misfit(result.outputs[name]):
            found.append(f"output {name}: {misfit}")
    usages = [step.usage for step in result.steps.values() if step.usage is not None]
    cost, tokens = sum(usage.cost_usd or 0 for usage in usages), sum(usage.total_tokens for usage in usages)
    if expect.max_cost_usd is not None and cost > expect.max_cost_usd:
        found.append(f"cost: expected at most ${expect.max_cost_usd:g}, got ${cost:g}")
    if expect.max_tokens is not None and tokens > expect.max_tokens:
        found.append(f"tokens: expected at most {expect.max_tokens}, got {tokens}")
    return found


def _low_scores(expect: Expectation, result: RunResult, workflow: Workflow) -> list[str]:
    primary = {step.id: step.primary_output for step in workflow.steps}
    found = []
    for step_id, scores in expect.scores.items():
        if step_id not in primary:
            found.append(f"score of {step_id}: there is no step of that name")
            continue
        response = to_text(result.steps[step_id].outputs.get(primary[step_id]))
        for score in scores:
            got = measure(score.metric, Subject(response, score.ground_truth), score.at_least)
            if not got.passed:
                found.append(f"{score.metric} of {step_id}: expected at least {score.at_least:g}, got {got.score:g}")
    return found

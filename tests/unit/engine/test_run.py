"""Workflows run by the local engine, against the scripted provider."""

from __future__ import annotations

import asyncio
import gc
import json
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.garbage import rarely_collected
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult, StepResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.workflow.model import Retry, Step, Workflow
from dag_factory import read_text

QUICK = Retry(initial_delay=0, jitter=False)


def workflow(text: str) -> Workflow:
    result = read_text("w.yaml", textwrap.dedent(text))
    assert not result.errors, "\n".join(map(str, result.errors))
    return result.workflows[0]


async def run(
    text: str,
    inputs: dict[str, Any] | None = None,
    answers: list[dict[str, Any]] | None = None,
    observer: Observer | None = None,
    secrets: dict[str, str] | None = None,
    timeout: float | None = None,
    step_timeout: float | None = None,
) -> RunResult:
    """Run a workflow; a file cannot ask for limits as short as the two that are given here."""
    credentials = Credentials(options={"answers": answers or []})
    async with Runtime(
        settings=Settings(retry=QUICK),
        credentials=lambda provider, connection: credentials,
        secret=(secrets or {}).get,
        observer=observer,
    ) as runtime:
        read = workflow(text)
        steps = tuple(replace(step, timeout=step_timeout or step.timeout) for step in read.steps)
        limited = replace(read, steps=steps, timeout=timeout or read.timeout)
        return await run_workflow(limited, inputs or {}, runtime, user="ann", run_id="r1")


def states(result: RunResult) -> dict[str, str]:
    return {name: step.state for name, step in result.steps.items()}


LLM = "type: llm, provider: scripted, model: m"


async def test_a_chain_hands_outputs_on() -> None:
    result = await run(
        f"""
        name: x
        steps:
          - {{id: a, {LLM}, prompt: "about {{{{ inputs.topic }}}}", output: [points]}}
          - {{id: b, {LLM}, prompt: "write of {{{{ steps.a.points }}}}", output: [text, model, tokens]}}
        """,
        {"topic": "tea"},
        [{"match": "^about tea$", "answer": "leaf"}, {"match": "^write of leaf$", "answer": "done"}],
    )
    assert result.state == "completed"
    assert result.steps["b"].outputs == {"text": "done", "model": "m", "tokens": result.steps["b"].usage.total_tokens}  # type: ignore[union-attr]
    assert result.outputs == {name: dict(step.outputs) for name, step in result.steps.items()}


async def test_model_output_is_never_read_as_a_template() -> None:
    answer = "{{ inputs.secret }} ${{ inputs.secret }} {% raw %}"
    result = await run(
        f"""
        name: x
        steps:
          - {{id: a, {LLM}, prompt: one}}
          - {{id: b, type: transform, function: concat, inputs: ["got: {{{{ steps.a.output }}}}"]}}
        """,
        {"secret": "s3cret"},
        [{"match": "one", "answer": answer}],
    )
    assert result.steps["b"].outputs == {"output": f"got: {answer}"}


SKIPS = """
    name: x
    steps:
      - {id: a, type: transform, function: template, template: a, condition: "{{ inputs.a }}"}
      - {id: b, type: transform, function: template, template: b, condition: "{{ inputs.b }}"}
      - {id: c, type: transform, function: template, template: "[{{ steps.a.output }}][{{ steps.b.output }}]"}
      - {id: d, type: transform, function: template, template: "{{ tasks.a.state }} {{ tasks.c.state }}", depends_on: [c]}
"""


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (True, True, {"a": "completed", "b": "completed", "c": "completed", "d": "completed"}),
        (False, True, {"a": "skipped", "b": "completed", "c": "completed", "d": "completed"}),
        (False, False, {"a": "skipped", "b": "skipped", "c": "skipped", "d": "skipped"}),
    ],
)
async def test_skips(a: bool, b: bool, expected: dict[str, str]) -> None:
    result = await run(SKIPS, {"a": a, "b": b})
    assert (result.state, states(result)) == ("completed", expected)


async def test_a_skipped_step_gives_null() -> None:
    result = await run(SKIPS, {"a": False, "b": True})
    assert result.steps["c"].outputs == {"output": "[][b]"}
    assert result.steps["d"].outputs == {"output": "skipped completed"}


async def test_a_failure_blocks_what_waits_for_it_and_nothing_else() -> None:
    result = await run(
        f"""
        name: x
        steps:
          - {{id: bad, {LLM}, prompt: fail}}
          - {{id: after, type: transform, function: template, template: "{{{{ steps.bad.output }}}}"}}
          - {{id: last, type: transform, function: template, template: l, depends_on: [after]}}
          - {{id: other, type: transform, function: template, template: fine}}
        """,
        answers=[{"match": "fail", "error": {"type": "AuthenticationError", "message": "no"}}],
    )
    assert result.state == "failed"
    assert states(result) == {"bad": "failed", "after": "pending", "last": "pending", "other": "completed"}
    assert result.error == "bad: AuthenticationError: no"
    assert result.steps["bad"].usage is not None
    assert result.steps["bad"].usage.attempts == 1


class Log(Observer):
    def __init__(self) -> None:
        self.retries: list[tuple[str, int, str, float]] = []
        self.lines: list[str] = []

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        self.retries.append((step.id, attempt, error.partition(":")[0], wait))

    def step_logged(self, step: Step, message: str) -> None:
        self.lines.append(message)


async def test_retries_by_class_and_retry_after_wins() -> None:
    log = Log()
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p}}\n",
        answers=[
            {"match": "p", "error": {"type": "RateLimitError", "retry_after": 0.01}, "times": 1},
            {"match": "p", "error": {"type": "ServiceUnavailable"}, "times": 1},
            {"match": "p", "answer": "there"},
        ],
        observer=log,
    )
    step = result.steps["a"]
    assert (step.state, step.attempts, step.usage.attempts) == ("completed", 3, 3)  # type: ignore[union-attr]
    assert log.retries == [("a", 1, "RateLimitError", 0.01), ("a", 2, "ServiceUnavailable", 0)]


@pytest.mark.parametrize("kind", ["AuthenticationError", "InvalidRequest", "ModelNotFound", "InvalidOutput"])
async def test_what_cannot_help_is_not_tried_again(kind: str) -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p}}\n", answers=[{"match": "p", "error": {"type": kind}}]
    )
    assert (result.steps["a"].state, result.steps["a"].attempts) == ("failed", 1)


async def test_invalid_output_is_tried_again_when_the_file_says_so() -> None:
    result = await run(
        f"""
        name: x
        steps:
          - {{id: a, {LLM}, prompt: p, retry: {{max_attempts: 2, initial_delay: 0, retryableErrors: [InvalidOutput]}}}}
        """,
        answers=[{"match": "p", "error": {"type": "InvalidOutput"}}],
    )
    assert result.steps["a"].attempts == 2


async def test_a_try_has_a_time_limit() -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p, retry: {{max_attempts: 1}}}}\n",
        answers=[{"match": "p", "answer": "late", "delay": 30}],
        step_timeout=0.01,
    )
    assert result.steps["a"].error == "TimeoutError: one try took longer than 0.01 s"


async def test_a_run_has_a_time_limit() -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p}}\n",
        answers=[{"match": "p", "answer": "late", "delay": 30}],
        timeout=0.01,
    )
    assert (result.state, result.error) == ("failed", "TimeoutError: the run took longer than 0.01 s")


async def test_secrets_reach_the_step_and_nothing_else(tmp_path: Path) -> None:
    result = await run(
        f"""
        name: x
        steps:
          - {{id: a, {LLM}, prompt: "key {{{{ secrets.token }}}}"}}
        outputs:
          leaked: ${{{{ secrets.token }}}}
        """,
        answers=[{"match": "^key s3cret$", "answer": "ok"}],
        secrets={"token": "s3cret"},
    )
    assert result.steps["a"].outputs == {"output": "ok"}
    assert result.outputs == {"leaked": "***"}
    assert "s3cret" not in str(result.to_dict())


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ({"answer": "you said s3cret"}, "you said ***"),
        ({"error": {"type": "InvalidRequest", "message": "what is s3cret?"}}, "InvalidRequest: what is ***?"),
    ],
)
async def test_a_secret_that_comes_back_is_hidden(rule: dict[str, Any], shown: str) -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: 'key {{{{ secrets.token }}}}'}}\n",
        answers=[{"match": "^key s3cret$", **rule}],
        secrets={"token": "s3cret"},
    )
    step = result.steps["a"]
    assert (step.outputs.get("output") or step.error) == shown
    assert "s3cret" not in str(result.to_dict())


async def test_facts_about_steps_and_the_run() -> None:
    result = await run(
        f"""
        name: facts
        version: "1.1"
        metadata: {{owner: me}}
        steps:
          - {{id: a, {LLM}, prompt: p, temperature: 0.5}}
        outputs:
          state: ${{{{ tasks.a.state }}}}
          attempts: ${{{{ tasks.a.attempts }}}}
          cost: ${{{{ tasks.a.cost }}}}
          tokens: ${{{{ tasks.a.tokens == tasks.a.metadata.total_tokens }}}}
          temperature: ${{{{ tasks.a.config.temperature }}}}
          run: ${{{{ workflow.id }}}}
          owner: ${{{{ workflow.metadata.owner }}}}
          user: ${{{{ system.user }}}}
          again: ${{{{ outputs.state }}}}
          missing: {{value: "${{{{ tasks.a.error }}}}", fallback: none}}
        """
    )
    assert result.outputs == {
        "state": "completed",
        "attempts": 1,
        "cost": 0.0,
        "tokens": True,
        "temperature": 0.5,
        "run": "r1",
        "owner": "me",
        "user": "ann",
        "again": "completed",
        "missing": "none",
    }


async def test_inputs_are_checked_all_at_once_before_anything_runs() -> None:
    text = f"""
        name: x
        inputs:
          - {{name: q, type: string, required: true}}
          - {{name: n, type: integer, default: 3}}
          - {{name: mood, type: string, enum: [good, bad], default: good}}
        steps:
          - {{id: a, {LLM}, prompt: "{{{{ inputs.q }}}}"}}
    """
    with pytest.raises(InvalidRequest) as caught:
        await run(text, {"n": "many", "mood": "odd", "qq": "x"})
    assert str(caught.value) == (
        "workflow 'x' cannot start with these inputs: mood: 'odd' is not one of ['good', 'bad']; "
        "n: 'many' is not of type 'integer'; q: missing; give a string; qq: no such input; did you mean 'q'?"
    )


async def test_a_log_action_is_heard() -> None:
    log = Log()
    await run(
        'name: x\nsteps:\n  - {id: a, type: action, action: log, message: "n={{ inputs.n }}"}\n', {"n": 1}, observer=log
    )
    assert log.lines == ["n=1"]


async def test_actions_without_a_target_are_kept() -> None:
    result = await run("name: x\nsteps:\n  - {id: a, type: action, action: publish, content: hello}\n")
    outbox = Path(result.steps["a"].outputs["output"]["outbox"])
    assert '"data": {"content": "hello"}' in outbox.read_text()


async def test_no_more_than_max_parallel_at_once() -> None:
    class Peak(Observer):
        now = peak = 0

        def step_started(self, step: Step) -> None:
            self.now += 1
            self.peak = max(self.peak, self.now)

        def step_finished(self, step: Step, result: Any) -> None:
            self.now -= 1

    peak = Peak()
    steps = "\n".join(f"  - {{id: s{i}, {LLM}, prompt: p}}" for i in range(10))
    result = await run(
        f"name: x\nmax_parallel: 3\nsteps:\n{steps}\n", answers=[{"answer": "x", "delay": 0.001}], observer=peak
    )
    assert (result.state, peak.peak) == ("completed", 3)


async def test_a_run_that_ends_too_late_still_tells_what_it_spent() -> None:
    heard: list[tuple[str, str]] = []

    class Hearing(Observer):
        def step_finished(self, step: Step, result: StepResult) -> None:
            heard.append((step.id, result.state))

    result = await run(
        f"""
        name: x
        steps:
          - {{id: a, {LLM}, prompt: p, retry: {{max_attempts: 2, initial_delay: 60s, retryableErrors: [InvalidOutput]}}}}
          - {{id: b, {LLM}, prompt: "{{{{ steps.a }}}}"}}
        """,
        answers=[{"match": "p", "error": {"type": "InvalidOutput"}}],
        observer=Hearing(),
        timeout=0.2,
    )
    assert heard == [("a", "failed")]
    assert states(result) == {"a": "failed", "b": "pending"}
    assert result.steps["a"].usage is not None
    assert result.steps["a"].usage.provider == "scripted"
    assert result.error == "TimeoutError: the run took longer than 0.2 s"


async def test_a_missing_secret_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: '{{{{ secrets.api_token }}}}'}}\n"
    result = await run(text)
    assert result.error == (
        "a: ConfigurationError: there is no secret 'api_token'; add it to Airflow's variables or secrets backend, "
        "or set AIRFLOW_VAR_API_TOKEN"
    )
    monkeypatch.setenv("AIRFLOW_VAR_API_TOKEN", "s3cret")
    credentials = Credentials(options={"answers": [{"match": "^s3cret$", "answer": "ok"}]})
    async with Runtime(credentials=lambda provider, connection: credentials) as runtime:
        assert (await run_workflow(workflow(text), {}, runtime)).outputs == {"a": {"output": "ok"}}


async def test_secrets_stay_out_of_keys_and_of_the_outbox(tmp_path: Path) -> None:
    settings = Settings(outbox=tmp_path)
    text = """
    name: x
    steps:
      - {id: a, type: action, action: publish, to: "key {{ secrets.token }}"}
      - {id: b, type: transform, function: json_parse, inputs: ['{"{{ secrets.token }}": 1}']}
    """
    async with Runtime(settings=settings, secret={"token": "s3cret"}.get) as runtime:
        result = await run_workflow(workflow(text), {}, runtime)
    assert result.outputs["b"] == {"output": {"***": 1}}
    [kept] = (tmp_path / "publish.jsonl").read_text().splitlines()
    assert json.loads(kept)["data"] == {"to": "key ***"}


async def test_a_null_prompt_is_empty_text() -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: '{{{{ n }}}}'}}\n", answers=[{"match": "^$", "answer": "e"}]
    )
    assert result.outputs == {"a": {"output": "e"}}


async def test_a_timeout_from_below_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> None:
        raise asyncio.TimeoutError("the socket gave up")

    monkeypatch.setattr("airflow_llm_provider.executors.action.Action.run", late)
    text = "name: x\nsteps:\n  - {id: a, type: action, action: log, message: m, retry: {max_attempts: 1}}\n"
    assert (await run(text)).error == "a: TimeoutError: the socket gave up"


async def test_a_wait_of_hours_is_not_waited_for() -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p}}\n",
        answers=[{"match": "p", "error": {"type": "RateLimitError", "retry_after": 86400}}],
    )
    assert (result.steps["a"].state, result.steps["a"].attempts) == ("failed", 1)


async def test_how_far_a_fan_out_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_llm_provider.executors import fan_out

    class Told(Observer):
        def __init__(self) -> None:
            self.lines: list[tuple[str, int, int, int]] = []

        def step_progressed(self, step: Step, done: int, failed: int, total: int) -> None:
            self.lines.append((step.id, done, failed, total))

    monkeypatch.setattr(fan_out, "TOLD_EVERY", 0.0)
    told = Told()
    text = """
        name: x
        steps:
          - id: each
            type: orchestrator:fan-out
            items: [1, 0, 2]
            max_concurrency: 1
            on_item_error: skip
            task_template: {type: transform, function: template, template: "${{ 1 / item }}"}
        """
    await run(text, observer=told)
    assert told.lines == [("each", 1, 0, 3), ("each", 2, 1, 3), ("each", 3, 1, 3)]


async def test_the_collector_is_as_before_after_a_fan_out() -> None:
    usual = gc.get_threshold()
    with rarely_collected():
        assert gc.get_threshold()[0] >= 50_000
        with rarely_collected():
            pass
        assert gc.get_threshold()[0] >= 50_000
    assert gc.get_threshold() == usual

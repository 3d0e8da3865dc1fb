"""Steps that have to wait for longer than whoever runs them wants to."""

from __future__ import annotations

from typing import Any

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.run import step_scope
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import MemoryResults, Run
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.workflow.model import Retry
from dag_factory import read_text

ASK = "{id: ask, type: llm, provider: scripted, model: m, prompt: why}"


async def run(
    step: str, answers: list[dict[str, Any]], *, longest_wait: float | None = 30, **before: Any
) -> StepResult:
    credentials = Credentials(options={"answers": answers})
    [workflow] = read_text("w.yaml", f"name: w\nsteps:\n  - {step}\n").workflows
    settings = Settings(retry=Retry(max_attempts=3, initial_delay=0, jitter=False))
    async with Runtime(settings=settings, credentials=lambda provider, connection: credentials) as runtime:
        runtime.longest_wait = longest_wait
        scope = step_scope(workflow, {}, Run("r", "2026-01-01"), MemoryResults(), runtime)
        return await run_step(workflow.steps[0], scope, runtime, **before)


def limited(wait: float, times: int = 1) -> dict[str, Any]:
    return {"error": {"type": "RateLimitError", "retry_after": wait, "times": times}, "answer": "because"}


async def test_a_long_wait_is_left_to_others() -> None:
    result = await run(ASK, [limited(31)])
    assert (result.state, result.postponed, result.attempts) == ("failed", 31, 1)


async def test_the_next_try_counts_those_before() -> None:
    spent = StepUsage("scripted", "m", 10, 5, cost_usd=0.5, attempts=2, calls=1)
    result = await run(ASK, [limited(31, times=3)], tried=2, spent=spent)
    # It was the last one, so there is nothing to wait for.
    assert (result.state, result.postponed, result.attempts) == ("failed", None, 3)
    assert result.usage is not None
    assert (result.usage.calls, result.usage.cost_usd, result.usage.attempts) == (1, 0.5, 3)


async def test_items_that_have_to_wait_make_the_fan_out_wait() -> None:
    answers = [{"match": "^2$", **limited(45)}, {"answer": "yes"}]
    step = (
        "{id: each, type: 'orchestrator:fan-out', items: [1, 2, 3], "
        "task_template: {type: llm, provider: scripted, model: m, prompt: '{{ item }}'}}"
    )
    result = await run(step, answers)
    assert (result.state, result.postponed) == ("failed", 45)
    assert result.error == ("Postponed: 1 of 3 items have to wait, the first because of RateLimitError: scripted")
    assert result.usage is not None
    assert result.usage.calls == 2

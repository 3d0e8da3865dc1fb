"""A fan-out whose questions go into batches: what is handed in, read, asked again and paid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_llm_provider.accounting.prices import cost_usd
from airflow_llm_provider.clients.base import Credentials, Usage
from airflow_llm_provider.clients.openai_batch import OpenAIBatch
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget, Price
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.meter import Meter
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.run import step_scope
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import MemoryResults, Run
from airflow_llm_provider.engine.sharing import open_state
from airflow_llm_provider.engine.spending import Ledger, Payer
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.errors import BudgetExceeded, InvalidRequest, RateLimitError, ServiceUnavailable
from airflow_llm_provider.executors.batching import Batching, HandedIn, PutAside, in_one_try
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_text

RULES = [Rule.model_validate({"match": "bad", "error": {"type": "ServiceUnavailable", "times": 1}, "answer": "better"})]

STEP = """
name: w
steps:
  - id: each
    type: orchestrator:fan-out
    items: [one, two, two, bad]
    on_item_error: "null"
    task_template: {provider: openai, model: gpt-4o-mini, prompt: "q {{ item }}", max_tokens: 50}
"""


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(RULES) as simulator:
        yield simulator


class Task:
    """A task that is run again and again, as Airflow would, with nothing kept but the batches."""

    def __init__(self, server: SimulatorServer, text: str = STEP, settings: Settings | None = None) -> None:
        [workflow] = read_text("w.yaml", text).workflows
        self.workflow, self.server, self.settings = workflow, server, settings or Settings()
        self.batches: list[HandedIn] = []

    def _runtime(self) -> Runtime:
        urls = {"openai": self.server.openai_base_url, "anthropic": self.server.anthropic_base_url}
        return Runtime(settings=self.settings, credentials=lambda name, _: Credentials(urls[name], "sk-any"))

    async def once(
        self, attempt: int = 1, *, batches: Sequence[HandedIn] | None = None, look: bool = False
    ) -> StepResult:
        async with self._runtime() as runtime:
            scope = step_scope(self.workflow, {}, Run("r", "2026-01-01"), MemoryResults(), runtime)
            batching = Batching(runtime, attempt, "dag run each -1", scope.payer)
            assert await batching.read(self.batches if batches is None else batches) is None
            for batch, left in batching.overpaid:
                ledger = runtime.ledger()
                assert ledger is not None
                await ledger.give_back(batch.accounts, left, batch.id)
                self.batches[self.batches.index(batch)] = replace(batch, accounted=True)
            if batching.refused is not None:
                raise batching.refused
            runtime.answers = batching
            step = self.workflow.steps[0]
            result = await run_step(in_one_try(step), scope, runtime)
            if isinstance(result.exception, PutAside):
                context = StepContext(step, scope, runtime, Meter(), attempt)
                known = [batch.id for batch in self.batches]
                self.batches.append(await batching.hand_in(context, look_first=look, known=known))
            return result


async def test_what_is_handed_in_is_read(server: SimulatorServer) -> None:
    task = Task(server)
    assert isinstance((await task.once()).exception, PutAside)
    assert task.batches[0].questions == 3
    result = await task.once()
    one, two, again, bad = result.outputs["output"]
    assert ("q one" in one, two == again, bad) == (True, True, None)
    assert server.simulator.answered == 2
    assert result.usage is not None
    usage = Usage(result.usage.input_tokens, result.usage.output_tokens)
    assert result.usage.cost_usd == pytest.approx((cost_usd("openai", "gpt-4o-mini", usage) or 0) / 2)
    assert len(task.batches) == 1
    async with task._runtime() as runtime:
        ledger = runtime.ledger()
        assert ledger is not None
        [amounts] = (await ledger.spending())["w"].values()
    assert (amounts["calls"], amounts["cost_usd"]) == (2, pytest.approx(result.usage.cost_usd))


async def test_in_another_try_only_those_are_asked_that_failed(server: SimulatorServer) -> None:
    task = Task(server)
    await task.once()
    await task.once()
    assert isinstance((await task.once(attempt=2)).exception, PutAside)
    assert task.batches[1].questions == 1
    result = await task.once(attempt=2)
    assert result.outputs["output"][3] == "better"
    assert server.simulator.answered == 3


async def test_a_batch_that_nobody_remembers_is_found(server: SimulatorServer) -> None:
    task = Task(server)
    await task.once()
    lost = task.batches.pop()
    await task.once(attempt=2, look=True)
    assert task.batches[0].id == lost.id


async def test_a_batch_that_was_given_up_is_not_found_again(server: SimulatorServer, tmp_path: Path) -> None:
    server.simulator.batch_seconds = 3600
    prices = (Price(model="gpt-4o-mini", input=0, output=10_000),)
    settings = Settings(prices=prices, budgets=(Budget(name="b", limit_usd=9),), state=tmp_path)
    task = Task(server, settings=settings)
    await task.once()
    for batch in server.simulator.batches._batches.values():
        batch.cancelled = True
    for attempt in (2, 3):
        assert isinstance((await task.once(attempt=attempt, look=True)).exception, PutAside)
        server.simulator.batches._batches[task.batches[-1].id].cancelled = True
    assert len({batch.id for batch in task.batches}) == 3
    await task.once(attempt=4, look=True)
    # What the three were to cost has come back, once each; what the fourth may cost is taken.
    assert await spent(task, settings) == pytest.approx(0.75)


async def spent(task: Task, settings: Settings) -> float:
    async with task._runtime() as runtime:
        ledger = runtime.ledger()
        assert ledger is not None
        return (await ledger.account(settings.budgets[0], Payer("w", "r"))).spent


async def test_what_could_not_be_handed_in_costs_nothing(
    server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = (Price(model="gpt-4o-mini", input=0, output=10_000),)
    settings = Settings(prices=prices, budgets=(Budget(name="b", limit_usd=9),), state=tmp_path)
    task = Task(server, settings=settings)

    async def refuse(*_: object) -> str:
        raise ServiceUnavailable("503")

    with monkeypatch.context() as patched:
        patched.setattr(OpenAIBatch, "submit", refuse)
        for _ in range(3):
            with pytest.raises(ServiceUnavailable):
                await task.once()
    assert await spent(task, settings) == pytest.approx(0)
    await task.once()
    told = {"status": "failed", "errors": {"data": [{"message": "Enqueued token limit reached"}]}, "id": "x"}
    monkeypatch.setattr(server.simulator.batches, "_openai", lambda batch: told)
    with pytest.raises(RateLimitError, match="Enqueued token limit reached"):
        await task.once()
    assert await spent(task, settings) == pytest.approx(0)


async def test_what_is_given_back_is_given_back_where_it_was_taken(tmp_path: Path) -> None:
    budget = Budget(name="day", limit_usd=10)
    ledger = Ledger(open_state(CacheSettings(), tmp_path), [budget])
    yesterday = "budget:day:2026-01-01"
    for _ in range(3):
        await ledger.give_back([yesterday], -4.0, "batch-1")
    await ledger.give_back([yesterday, "budget:gone:2026-01-01"], 1.0, "batch-2")
    kept = await ledger._state.all("budget:")
    assert {key: state["spent"] for key, state in kept.items()} == {yesterday: 3.0}


async def test_questions_that_a_batch_has_lost(server: SimulatorServer) -> None:
    server.simulator.batch_seconds = 3600
    task = Task(server)
    await task.once()
    for batch in server.simulator.batches._batches.values():
        batch.cancelled = True
    result = await task.once()
    assert result.outputs["output"] == [None] * 4
    assert len(task.batches) == 1


async def test_a_batch_that_is_worked_on(server: SimulatorServer) -> None:
    server.simulator.batch_seconds = 3600
    task = Task(server)
    await task.once()
    async with task._runtime() as runtime:
        assert await Batching(runtime, 1, "n", Payer("w", "r")).read(task.batches) == task.batches[0]


async def test_a_batch_that_is_refused(server: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(server)
    await task.once()
    told = {"status": "failed", "errors": {"data": [{"message": "too many tokens are enqueued"}]}, "id": "x"}
    monkeypatch.setattr(server.simulator.batches, "_openai", lambda batch: told)
    with pytest.raises(InvalidRequest, match=r"openai refused the batch .*: too many tokens are enqueued"):
        await task.once()
    # The next try of the task hands them in anew.
    assert isinstance((await task.once(attempt=2)).exception, PutAside)


async def test_another_provider_is_asked_at_once(server: SimulatorServer) -> None:
    text = STEP.replace(
        "max_tokens: 50", "max_tokens: 50, fallbacks: [{provider: anthropic, model: claude-3-5-haiku-20241022}]"
    )
    task = Task(server, text)
    await task.once()
    result = await task.once()
    assert result.outputs["output"][3] == "better"


async def test_budgets(server: SimulatorServer, tmp_path: Path) -> None:
    prices = (Price(model="gpt-4o-mini", input=0, output=10_000),)
    settings = Settings(prices=prices, budgets=(Budget(name="b", limit_usd=1.6),), state=tmp_path)
    task = Task(server, settings=settings)
    await task.once()
    # Three answers of at most 50 tokens at a cent, at half the price.
    assert task.batches[0].usd == pytest.approx(0.75)
    result = await task.once()
    async with task._runtime() as runtime:
        ledger = runtime.ledger()
        assert ledger is not None
        account = await ledger.account(settings.budgets[0], Payer("w", "r"))
    assert result.usage is not None
    assert account.spent == pytest.approx(result.usage.cost_usd)
    poor = Task(server, settings=settings.model_copy(update={"budgets": (Budget(name="c", limit_usd=0.5),)}))
    with pytest.raises(BudgetExceeded):
        await poor.once()


async def test_an_address_that_holds_a_secret(server: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_TOKEN", "s3cret")
    text = STEP.replace("max_tokens: 50", "max_tokens: 50, base_url: 'https://gateway/{{ secrets.token }}/v1'")
    task = Task(server, text.replace('on_item_error: "null"', "on_item_error: fail"))
    result = await task.once()
    assert task.batches == []
    assert "'base_url' of questions in a batch must hold no secret" in (result.error or "")

"""The ledger: what may be spent and what was, by several processes at once."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from airflow_llm_provider.clients.base import Usage
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine import runtime as runtime_module
from airflow_llm_provider.engine import spending
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.sharing import SharedState, open_state
from airflow_llm_provider.engine.spending import Ledger, Payer, Taken
from airflow_llm_provider.errors import BudgetExceeded, Postponed, ServiceUnavailable

ANN = Payer("report", "r1", "web", {"tier": "free"})
ONE = Budget(name="one", limit_usd=1)


@pytest_asyncio.fixture(params=["file", "redis"])
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedState]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    settings = CacheSettings(type="redis", url=url) if url else CacheSettings()
    opened = open_state(settings, tmp_path)
    yield opened
    await opened.aclose()


async def test_what_is_taken_is_settled(state: SharedState) -> None:
    ledger = Ledger(state, [ONE])
    taken = await ledger.take(ANN, 0.4)
    account = await ledger.account(ONE, ANN)
    assert (account.spent, account.held, account.left) == (0, 0.4, 0.6)
    assert await ledger.settle(taken, 0.1) == []
    account = await ledger.account(ONE, ANN)
    assert (account.spent, account.held) == (0.1, 0)
    assert await ledger.settle(await ledger.take(ANN, 0.85), 0.85) == ["budget 'one': 0.9500 of 1 USD are spent"]
    with pytest.raises(
        BudgetExceeded, match=r"the budget 'one' of 1 USD has 0.0500 USD left, and the call may cost 0.1000 USD"
    ):
        await ledger.take(ANN, 0.1)
    assert (await ledger.account(ONE, ANN)).spent == pytest.approx(0.95)
    assert [(whose, account.budget.title) for whose, account in await ledger.accounts()] == [
        (spending._whose(ONE, ANN), "one")
    ]


async def test_a_call_waits_for_those_that_may_give_some_back(state: SharedState) -> None:
    ledger = Ledger(state, [ONE])
    first = await ledger.take(ANN, 0.7)
    second = asyncio.create_task(ledger.take(ANN, 0.7))
    done, _ = await asyncio.wait([second], timeout=0.2)
    assert not done
    await ledger.settle(first, 0.2)
    await ledger.settle(await second, 0.3)
    assert (await ledger.account(ONE, ANN)).spent == pytest.approx(0.5)


async def test_what_is_never_settled_is_spent_in_the_end(state: SharedState, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(state, [ONE])
    monkeypatch.setattr(spending, "HELD_SECONDS", -1.0)
    lost = await ledger.take(ANN, 0.7)
    account = await ledger.account(ONE, ANN)
    assert (account.spent, account.held) == (0.7, 0)
    # It was only slow.
    await ledger.settle(lost, 0.1)
    assert (await ledger.account(ONE, ANN)).spent == pytest.approx(0.1)


async def test_all_budgets_of_a_call_have_to_have_enough(state: SharedState) -> None:
    small = Budget(name="small", limit_usd=0.1)
    ledger = Ledger(state, [ONE, small])
    with pytest.raises(BudgetExceeded) as caught:
        await ledger.take(ANN, 0.5)
    assert caught.value.budget == "small"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    account = await ledger.account(ONE, ANN)
    assert (account.spent, account.held) == (0, 0)
    await ledger.take(ANN, 0.5, beyond={"small"})


async def test_a_run_may_be_let_spend_more(state: SharedState) -> None:
    ledger = Ledger(state, [ONE])
    await ledger.settle(await ledger.take(ANN, 1), 1)
    await ledger.approve(ONE, ANN)
    await ledger.take(ANN, 5)
    assert (await ledger.account(ONE, ANN)).approved == ("report:r1",)
    with pytest.raises(BudgetExceeded):
        await ledger.take(Payer("report", "r2"), 0.1)
    # Another workflow's run of the same id, as scheduled runs have, is another run.
    with pytest.raises(BudgetExceeded):
        await ledger.take(Payer("other", ANN.run_id, ANN.team), 0.1)


async def test_a_call_that_is_cut_off_while_it_takes_holds_nothing(state: SharedState) -> None:
    ledger = Ledger(state, [ONE])
    taking = [asyncio.create_task(ledger.take(ANN, 0.01)) for _ in range(30)]
    await asyncio.sleep(0.005)
    for one in taking:
        one.cancel()
    done = await asyncio.gather(*taking, return_exceptions=True)
    for one in done:
        if isinstance(one, Taken):
            await ledger.settle(one, 0)
    account = await ledger.account(ONE, ANN)
    assert (account.spent, account.held) == (0, 0)


async def test_what_others_hold_is_not_waited_for_long_here(state: SharedState) -> None:
    await Ledger(state, [ONE]).take(ANN, 0.6)
    with pytest.raises(Postponed, match="calls under way hold what is left of the budget 'one'"):
        await Ledger(state, [ONE], longest_wait=0.2).take(ANN, 0.6)


@pytest.mark.parametrize(
    ("budget", "other", "shared"),
    [
        (Budget(limit_usd=1), Payer("other", "r2"), True),
        (Budget(limit_usd=1, each="workflow"), Payer("other", "r2"), False),
        (Budget(limit_usd=1, each="workflow"), Payer("report", "r2"), True),
        (Budget(limit_usd=1, each=("workflow", "team")), Payer("report", "r2", "ops"), False),
        (Budget(limit_usd=1, period="run"), Payer("report", "r2"), False),
        (Budget(limit_usd=1, period="run"), Payer("other", "r1"), False),
        (Budget(limit_usd=1, period="total"), Payer("other", "r2"), True),
        (Budget(limit_usd=1, period="month", team="web"), Payer("other", "r2", "web"), True),
        (Budget(limit_usd=1, team="w*"), Payer("other", "r2", "ops"), False),
        (Budget(limit_usd=1, labels={"tier": "free"}), Payer("other", "r2", labels={"tier": "free"}), True),
        (Budget(limit_usd=1, labels={"tier": "free"}), Payer("other", "r2"), False),
    ],
)
async def test_who_shares_a_budget(tmp_path: Path, budget: Budget, other: Payer, shared: bool) -> None:
    ledger = Ledger(open_state(CacheSettings(), tmp_path), [budget])
    await ledger.settle(await ledger.take(ANN, 1), 1)
    if shared:
        with pytest.raises(BudgetExceeded):
            await ledger.take(other, 0.5)
    else:
        await ledger.take(other, 0.5)


async def test_a_ledger_that_cannot_be_reached_spends_nothing() -> None:
    class Broken:
        async def change(self, *args: object, **options: object) -> Any:
            raise OSError("gone")

    with pytest.raises(ServiceUnavailable, match="'one' cannot be looked up, so nothing is spent: OSError"):
        await Ledger(Broken(), [ONE]).take(ANN, 1)  # type: ignore[arg-type]


async def test_accounts_of_workflows(state: SharedState) -> None:
    ledger = Ledger(state, [])
    amounts = {"calls": 1, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25, "without_price": 0}
    for workflow in ("report", "report", "other"):
        await ledger.book(workflow, f"r-{workflow}", amounts)
    told = await ledger.spending()
    assert [*told] == ["other", "report"]
    [(_, day)] = told["report"].items()
    assert day == {"calls": 2, "input_tokens": 20, "output_tokens": 10, "cost_usd": 0.5, "without_price": 0}
    latest, first = await ledger.runs()
    assert (latest["run_id"], first["run_id"]) == ("r-other", "r-report")
    assert (first["workflow"], first["calls"], first["cost_usd"]) == ("report", 2, 0.5)


SPENDER = """
import asyncio, json, random, sys
from pathlib import Path
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget
from airflow_llm_provider.engine.sharing import open_state
from airflow_llm_provider.engine.spending import Ledger, Payer, Taken
from airflow_llm_provider.errors import BudgetExceeded

async def main():
    url = json.loads(sys.argv[2])
    settings = CacheSettings(type="redis", url=url) if url else CacheSettings()
    ledger = Ledger(open_state(settings, Path(sys.argv[1])), [Budget(name="one", limit_usd=1)])
    spent = 0.0

    async def spend():
        nonlocal spent
        while True:
            try:
                taken = await ledger.take(Payer("w", "r"), 0.05)
            except BudgetExceeded:
                return
            spent += 0.03
            await ledger.settle(taken, 0.03)

    await asyncio.gather(*(spend() for _ in range(4)))
    await ledger.aclose()
    print(spent)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_processes_do_not_spend_more_than_there_is(tmp_path: Path, redis_url: str, kind: str) -> None:
    command = [sys.executable, "-c", SPENDER, str(tmp_path), json.dumps(redis_url if kind == "redis" else None)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    spent = [float(process.communicate(timeout=120)[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    # Calls are made as long as one of them can be paid for.
    assert 0.95 < sum(spent) <= 1.0


async def test_what_was_spent_is_written_down_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "BOOKED_EVERY", 0.05)
    async with Runtime(settings=Settings(state=tmp_path)) as runtime:
        for _ in range(3):
            runtime.spent(ANN, "openai", Usage(1, 2), 0.5)
        await asyncio.sleep(0.3)
        # A process that is killed now has left nothing out.
        other = Ledger(open_state(CacheSettings(), tmp_path), [])
        [amounts] = (await other.spending())["report"].values()
        assert (amounts["calls"], amounts["cost_usd"]) == (3, 1.5)
        runtime.spent(ANN, "openai", Usage(1, 2), 0.5)
    [amounts] = (await other.spending())["report"].values()
    assert amounts["calls"] == 4

"""What runs may spend, and what they have spent: budgets and accounts in one ledger, which all processes share.

A call takes what it may cost from every budget that it falls under before it is made, and settles what it did cost afterwards. So
however many processes there are, they do not spend more than there is. What is taken and never settled, because a process was
killed, counts as spent after :data:`HELD_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeVar

from airflow_llm_provider.config.money import Budget
from airflow_llm_provider.engine.sharing import Change, SharedState
from airflow_llm_provider.errors import BudgetExceeded, Postponed, ServiceUnavailable
from airflow_llm_provider.workflow.model import Workflow

__all__ = ["Account", "Ledger", "Payer", "Taken"]

ResultT = TypeVar("ResultT")

_log = logging.getLogger(__name__)

HELD_SECONDS = 900.0
"""How long a call may be under way; what it has taken counts as spent then."""

DAYS_KEPT = 62
"""Days for which the ledger knows what a workflow has cost."""

WARN_AT = 0.9
"""Part of a budget that is told of when it is spent."""

LOUD_AFTER = 2.0
"""Seconds after which a wait for others is told of."""

_SETTLED = 1000
"""Batches whose settlement an account remembers."""

_DAY = 86400
_KEPT = {"run": 30 * _DAY, "day": 3 * _DAY, "month": 70 * _DAY, "total": 3650 * _DAY}
"""Seconds for which an account is kept that nobody changes."""


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account a call is.

    Attributes:
        workflow: The workflow that was started; those that its steps run are on its account.
        run_id: The run.
        team: Its team; empty when it has none.
        labels: Its labels.
    """

    workflow: str
    run_id: str
    team: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """The run, told from those of other workflows, which may have the same id."""
        return f"{self.workflow}:{self.run_id}"

    @classmethod
    def of(cls, workflow: Workflow, run_id: str) -> Payer:
        """Give the payer of a run.

        Args:
            workflow: The workflow.
            run_id: The run.
        """
        given = workflow.metadata.get("labels")
        labels = {str(key): str(value) for key, value in given.items()} if isinstance(given, Mapping) else {}
        return cls(workflow.name, run_id, labels.get("team") or str(workflow.airflow.get("owner") or ""), labels)


@dataclass(frozen=True, slots=True)
class Account:
    """How a budget stands for one payer.

    Attributes:
        budget: The budget.
        spent: USD that are spent.
        held: USD that calls under way may cost.
        approved: The runs that may spend more, as :attr:`Payer.run`.
    """

    budget: Budget
    spent: float
    held: float
    approved: tuple[str, ...] = ()

    @property
    def left(self) -> float:
        """USD that may still be spent."""
        return max(0.0, self.budget.limit_usd - self.spent - self.held)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call has taken.

    Attributes:
        id: Tells it from other calls.
        usd: How much, from each account.
        accounts: The budgets, and the keys of their accounts.
    """

    id: str
    usd: float
    accounts: tuple[tuple[Budget, str], ...]


class Ledger:
    """Budgets and accounts.

    Args:
        state: What all processes share.
        budgets: The budgets.

    Attributes:
        asking: Held by the call of this process that asks a person for more; the others wait for what is said.
        longest_wait: Seconds that a call may wait in this process for others to give money back; None for as long as it takes.
    """

    def __init__(self, state: SharedState, budgets: Sequence[Budget], longest_wait: float | None = None) -> None:
        self._state = state
        self._budgets = budgets
        self._longest_wait = longest_wait
        self.asking = asyncio.Lock()

    async def take(self, payer: Payer, usd: float, *, beyond: Collection[str] = ()) -> Taken:
        """Take what a call may cost from every budget that it falls under, waiting for calls under way that may give some back.

        Args:
            payer: On whose account it is.
            usd: What it may cost.
            beyond: Titles of budgets that it may exceed.

        Raises:
            BudgetExceeded: There is not enough left of a budget.
            Postponed: Calls under way hold what is left for longer than a call may wait here.
            ServiceUnavailable: The ledger cannot be reached.
        """
        fitting = [budget for budget in self._budgets if budget.fits(payer.workflow, payer.team, payer.labels)]
        taken = Taken(uuid.uuid4().hex, usd, tuple((budget, _key(budget, payer)) for budget in fitting))
        try:
            for budget, key in taken.accounts:
                soft = budget.on_exceeded == "warn" or budget.title in beyond
                await self._take(budget, key, taken, payer, soft=soft)
        except BaseException:
            await asyncio.shield(self._give_up(taken))
            raise
        return taken

    async def _take(self, budget: Budget, key: str, taken: Taken, payer: Payer, *, soft: bool) -> None:
        wait, since = 0.05, time.monotonic()
        while True:
            change = asyncio.ensure_future(self._change(budget, key, _taking(budget, taken, payer, soft=soft)))
            try:
                outcome, spent = await asyncio.shield(change)
            except asyncio.CancelledError:
                # It goes on in its thread; only when it has ended can it be undone.
                await asyncio.wait([change])
                raise
            if outcome == "taken":
                return
            if outcome == "exceeded":
                raise BudgetExceeded(budget.title, budget.limit_usd, spent, taken.usd)
            waited = time.monotonic() - since
            if self._longest_wait is not None and waited > self._longest_wait:
                raise Postponed(
                    f"calls under way hold what is left of the budget {budget.title!r}", retry_after=self._longest_wait
                )
            if wait == 1.0 and waited < LOUD_AFTER + 1.0:
                _log.info("waiting for calls under way that hold what is left of the budget %r", budget.title)
            await asyncio.sleep(random.uniform(wait / 2, wait))
            wait = min(wait * 2, 1.0)

    async def _give_up(self, taken: Taken) -> None:
        def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
            held = {call: part for call, part in state.get("held", {}).items() if call != taken.id}
            return ({**state, "held": held} if len(held) < len(state.get("held", {})) else state), None

        for budget, key in taken.accounts:
            await self._change(budget, key, change)

    async def settle(self, taken: Taken, usd: float) -> list[str]:
        """Enter what a call has cost.

        Args:
            taken: What it has taken.
            usd: What it cost.

        Returns:
            What people should be told of: budgets that are nearly, or wholly, spent now.

        Raises:
            ServiceUnavailable: The ledger cannot be reached.
        """
        told = []
        for budget, key in taken.accounts:
            before, after = await self._change(budget, key, _settling(taken, usd))
            for part in (1.0, WARN_AT):
                if before < part * budget.limit_usd <= after:
                    told.append(f"budget {budget.title!r}: {after:.4f} of {budget.limit_usd:g} USD are spent")
                    break
        return told

    async def give_back(self, accounts: Sequence[str], usd: float, reference: str) -> None:
        """Give back what was spent from accounts and not needed, once however often it is done.

        Args:
            accounts: Keys of the accounts that it was taken from, as :class:`Taken` has them: those of the time it was taken at.
            usd: How much, from each; below 0 what was spent more.
            reference: What it was spent for, told from all else.

        Raises:
            ServiceUnavailable: The ledger cannot be reached.
        """

        def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
            settled = state.get("settled", [])
            if reference in settled:
                return state, None
            return {**state, "spent": state.get("spent", 0.0) - usd, "settled": [*settled, reference][-_SETTLED:]}, None

        budgets = {budget.title: budget for budget in self._budgets}
        for key in accounts:
            budget = next((budgets[title] for title in budgets if key.startswith(f"budget:{title}:")), None)
            # One that is no longer configured limits nothing.
            if budget is not None:
                await self._change(budget, key, change)

    async def approve(self, budget: Budget, payer: Payer) -> None:
        """Let a run spend more than a budget has.

        Args:
            budget: The budget.
            payer: Whose run.
        """

        def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
            approved = [*state.get("approved", []), payer.run]
            return {**state, "title": budget.title, "whose": _whose(budget, payer), "approved": approved}, None

        await self._change(budget, _key(budget, payer), change)

    async def account(self, budget: Budget, payer: Payer) -> Account:
        """Tell how a budget stands.

        Args:
            budget: The budget.
            payer: For whom.
        """

        def look(state: dict[str, Any], now: float) -> tuple[dict[str, Any], Account]:
            return state, _account(budget, state, now)

        return await self._change(budget, _key(budget, payer), look)

    async def accounts(self) -> list[tuple[str, Account]]:
        """Tell how all budgets stand that somebody has spent from: for whom and which period, and the account."""
        budgets, now = {budget.title: budget for budget in self._budgets}, time.time()
        told = []
        for state in (await self._state.all("budget:")).values():
            budget = budgets.get(state["title"])
            if budget is not None:
                told.append((state["whose"], _account(budget, state, now)))
        return told

    async def book(self, workflow: str, run_id: str, amounts: Mapping[str, float]) -> None:
        """Enter what calls have cost in the accounts of a workflow and of a run.

        Args:
            workflow: The workflow's name.
            run_id: The run.
            amounts: ``calls``, ``input_tokens``, ``output_tokens``, ``cost_usd``, and calls ``without_price``.
        """

        def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
            today = datetime.fromtimestamp(now, timezone.utc).date()
            oldest = str(today - timedelta(days=DAYS_KEPT))
            days = {day: entry for day, entry in state.items() if day >= oldest}
            days[str(today)] = _sum(days.get(str(today), {}), amounts)
            return days, None

        def change_run(state: dict[str, Any], now: float) -> tuple[dict[str, Any], None]:
            begun = {"workflow": workflow, "run_id": run_id, "since": state.get("since", now)}
            return {**begun, **_sum(state, amounts)}, None

        await self._state.change(f"{_SPENT}{workflow}", change, keep=DAYS_KEPT * _DAY)
        await self._state.change(f"{_RUN}{workflow}:{run_id}", change_run, keep=DAYS_KEPT * _DAY)

    async def runs(self) -> list[dict[str, Any]]:
        """Give what runs have cost, the latest first: ``workflow``, ``run_id``, ``since`` (seconds since 1970) and the amounts."""
        return sorted((await self._state.all(_RUN)).values(), key=lambda run: -run["since"])

    async def spending(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Give what workflows have cost: name to day to calls, tokens, ``cost_usd`` and calls ``without_price``."""
        return {key.removeprefix(_SPENT): days for key, days in (await self._state.all(_SPENT)).items()}

    async def _change(self, budget: Budget, key: str, change: Change[ResultT]) -> ResultT:
        try:
            return await self._state.change(key, change, keep=_KEPT[budget.period])
        except Exception as error:
            raise ServiceUnavailable(
                f"the budget {budget.title!r} cannot be looked up, so nothing is spent: {type(error).__name__}"
            ) from error

    async def aclose(self) -> None:
        """Give connections back."""
        await self._state.aclose()


_SPENT = "spent:"
_RUN = "run:"


def _sum(state: Mapping[str, Any], amounts: Mapping[str, float]) -> dict[str, float]:
    return {name: state.get(name, 0) + amount for name, amount in amounts.items()}


def _whose(budget: Budget, payer: Payer) -> str:
    """Give for whom and which period the account is that a payer has with a budget."""
    today = datetime.now(timezone.utc)
    period = {"run": payer.run_id, "day": f"{today:%Y-%m-%d}", "month": f"{today:%Y-%m}", "total": ""}[budget.period]
    names = {"workflow": payer.workflow, "team": payer.team}
    # A run is one of its workflow; two workflows may have runs of one id.
    each = ("workflow",) if budget.period == "run" else budget.each
    return " ".join(part for part in (*(names[name] for name in each), period) if part)


def _key(budget: Budget, payer: Payer) -> str:
    return f"budget:{budget.title}:{_whose(budget, payer)}"


def _account(budget: Budget, state: Mapping[str, Any], now: float) -> Account:
    spent, held = _standing(state, now)
    return Account(budget, spent, sum(usd for usd, _ in held.values()), tuple(state.get("approved", ())))


_Held = dict[str, tuple[float, float]]


def _standing(state: Mapping[str, Any], now: float) -> tuple[float, _Held]:
    """Give what is spent and what is held; what was held for too long is spent."""
    spent, held = float(state.get("spent", 0.0)), {}
    for call, (usd, until) in state.get("held", {}).items():
        if until < now:
            spent += usd
        else:
            held[call] = (usd, until)
    return spent, held


def _taking(
    budget: Budget, taken: Taken, payer: Payer, *, soft: bool
) -> Change[tuple[Literal["taken", "busy", "exceeded"], float]]:
    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], tuple[Any, float]]:
        spent, held = _standing(state, now)
        if not soft and payer.run not in state.get("approved", ()):
            if spent + taken.usd > budget.limit_usd:
                return state, ("exceeded", spent)
            if spent + taken.usd + sum(usd for usd, _ in held.values()) > budget.limit_usd:
                return state, ("busy", spent)
        held[taken.id] = (taken.usd, now + HELD_SECONDS)
        whose = {"title": budget.title, "whose": _whose(budget, payer)}
        return {**state, **whose, "spent": spent, "held": held}, ("taken", spent)

    return change


def _settling(taken: Taken, usd: float) -> Change[tuple[float, float]]:
    def change(state: dict[str, Any], now: float) -> tuple[dict[str, Any], tuple[float, float]]:
        # What was held for too long is among what is spent already.
        before, held = _standing(
            {**state, "held": {k: v for k, v in state.get("held", {}).items() if k != taken.id}}, now
        )
        after = before + (usd if taken.id in state.get("held", {}) else usd - taken.usd)
        return {**state, "spent": after, "held": held}, (before, after)

    return change

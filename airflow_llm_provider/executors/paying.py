"""Paying for calls: what budgets let a step spend, and what follows when they do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from airflow_llm_provider.clients.base import Usage
from airflow_llm_provider.config.money import Budget, ModelPlace, find_budget
from airflow_llm_provider.engine.approval import Question
from airflow_llm_provider.engine.executor import StepContext
from airflow_llm_provider.engine.spending import Ledger, Taken
from airflow_llm_provider.errors import BudgetExceeded, StepError

__all__ = ["LONGEST_ANSWER", "Payment", "pay_ahead", "paying"]

LONGEST_ANSWER = 1024
"""Tokens that an answer is thought to have at most where nothing limits it."""


@dataclass(slots=True)
class Payment:
    """A call that there is money for.

    Attributes:
        model: Whom to ask: the model that was meant, or a cheaper one.
        cost_usd: What the call has cost, to be set inside; None when that is not known, and then it is what it was thought to.
    """

    model: ModelPlace
    cost_usd: float | None = None


@contextlib.asynccontextmanager
async def paying(
    context: StepContext, model: ModelPlace, usage: Usage, *, may_downgrade: bool = True
) -> AsyncIterator[Payment]:
    """Take what a call may cost from the budgets, and settle afterwards what it did; the call is made inside.

    Args:
        context: The step that pays.
        model: Who is asked.
        usage: What the call will use at most.
        may_downgrade: Whether another model will do.

    Raises:
        BudgetExceeded: A budget has not enough left.
        ServiceUnavailable: The ledger cannot be reached.
    """
    ledger = context.runtime.ledger() if context.runtime.settings.budgets else None
    if ledger is None:
        yield Payment(model)
        return
    payment, taken = await _afford(context, ledger, model, usage, may_downgrade=may_downgrade)
    try:
        yield payment
    except BaseException as error:
        # A call that was cut off may have been answered, and counts as what it was thought to cost.
        free = isinstance(error, StepError) and not error.may_have_cost
        await asyncio.shield(ledger.settle(taken, 0.0 if free else taken.usd))
        raise
    for told in await ledger.settle(taken, taken.usd if payment.cost_usd is None else payment.cost_usd):
        context.say(told)


async def pay_ahead(context: StepContext, usd: float) -> tuple[str, ...]:
    """Take what calls may cost that are made much later, for good; :meth:`Ledger.give_back` corrects it.

    Args:
        context: The step that pays.
        usd: What they may cost.

    Returns:
        The accounts that it was taken from.

    Raises:
        BudgetExceeded: A budget has not enough left, and a cheaper model would not do.
        ServiceUnavailable: The ledger cannot be reached.
    """
    ledger = context.runtime.ledger() if context.runtime.settings.budgets else None
    if ledger is None:
        return ()
    taken = await _take(context, ledger, usd)
    for told in await ledger.settle(taken, usd):
        context.say(told)
    return tuple(key for _, key in taken.accounts)


async def _take(context: StepContext, ledger: Ledger, usd: float, beyond: Collection[str] = ()) -> Taken:
    """Take what a call may cost, and ask a person where a budget that has not enough says so."""
    while True:
        try:
            return await ledger.take(context.scope.payer, usd, beyond=beyond)
        except BudgetExceeded as error:
            budget = find_budget(context.runtime.settings.budgets, error.budget)
            if budget.on_exceeded != "approve":
                raise
            await _approval(context, ledger, budget, error)


async def _afford(
    context: StepContext, ledger: Ledger, model: ModelPlace, usage: Usage, *, may_downgrade: bool
) -> tuple[Payment, Taken]:
    """Find a model that there is money for, and take it."""
    beyond: set[str] = set()
    while True:
        usd = context.runtime.price(context.runtime.provider(model.provider), model.model, usage)
        if usd is None and model.name not in context.kept:
            context.kept[model.name] = True
            context.say(f"no budget holds for {model.name}, whose price is not known; give it under 'prices'")
        try:
            return Payment(model), await _take(context, ledger, usd or 0.0, beyond)
        except BudgetExceeded as error:
            budget = find_budget(context.runtime.settings.budgets, error.budget)
            if budget.downgrade_to is None or not may_downgrade:
                raise
            context.say(f"{error}; asking {budget.downgrade_to.name} instead of {model.name}")
            model = budget.downgrade_to
            beyond.add(budget.title)


async def _approval(context: StepContext, ledger: Ledger, budget: Budget, error: BudgetExceeded) -> None:
    """Ask whether the run may spend more, unless another call of it has just asked.

    Raises:
        BudgetExceeded: It may not.
    """
    async with ledger.asking:
        account = await ledger.account(budget, context.scope.payer)
        if context.scope.payer.run not in account.approved:
            await _ask(context, ledger, budget, error)


async def _ask(context: StepContext, ledger: Ledger, budget: Budget, error: BudgetExceeded) -> None:
    asked = f"May the run {context.run_id} of {context.workflow} spend more than the budget {budget.title!r} has?"
    answer = await context.runtime.ask(Question(context.step.id, asked, str(error), budget.approvers))
    if not answer.approved:
        raise error
    context.say(f"{answer.by or 'somebody'} lets the run spend more than the budget {budget.title!r} has")
    await ledger.approve(budget, context.scope.payer)

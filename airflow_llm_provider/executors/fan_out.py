"""``orchestrator:fan-out``: one step for every item of a list, in this process, so many at a time.

What a fan-out is made of stands here as functions of its own, because in Airflow its items may be tasks of their own
(:mod:`airflow_llm_provider.operators.fan_out`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.engine.approval import PersonNeeded
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.garbage import rarely_collected
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Scope
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.errors import InvalidRequest, ItemsFailed, Postponed
from airflow_llm_provider.executors.batching import PutAside
from airflow_llm_provider.workflow.model import Step

__all__ = ["FanOut", "FanOutInputs", "collect", "listed", "run_item"]

TOLD_EVERY = 5.0
"""Seconds between two words on how far a fan-out has come."""

OnItemError = Literal["fail", "skip", "null"]


class FanOutInputs(Inputs):
    """What to go over, and how; ``task_template`` beside them is the step that runs for each item.

    Attributes:
        items: The list; an object stands for the list of its members, as ``{key, value}``.
        max_concurrency: Most items at the same time.
        on_item_error: ``fail`` the step when all items have ended, ``skip`` the item, or put ``null`` in its place.
    """

    items: Any
    max_concurrency: int = Field(default=10, ge=1, le=1000)
    on_item_error: OnItemError = "fail"


class FanOut(Executor[FanOutInputs]):
    """Runs its template for every item; the results are in the items' order, whichever ended first."""

    outputs: ClassVar[tuple[str, ...]] = ("results", "errors", "count")
    has_template: ClassVar[bool] = True
    Inputs = FanOutInputs

    async def run(self, inputs: FanOutInputs, context: StepContext) -> Mapping[str, Any]:
        """Go over the items.

        Returns:
            ``results`` (for each item its primary output, or the object of all its outputs when it names several; an item whose
            condition is false has none), ``errors`` (``{index, error}`` of each failed item) and ``count`` (of all, of those
            completed, failed and skipped).

        Raises:
            InvalidRequest: The items are no list.
            ItemsFailed: Items failed, and ``on_item_error`` is ``fail``. What the others gave is kept for the next try.
            Postponed: Items have to wait for long.
            PersonNeeded: An item has to wait for a person.
        """
        template = context.step.template
        assert template is not None
        # What a rehearsal left out gives null, and the steps behind it are to be rehearsed all the same.
        rehearsed = inputs.items is None and context.runtime.rehearsal is not None
        items = [] if rehearsed else listed(inputs.items)
        # Items that have ended in an earlier try of this step are not paid for again.
        ended: dict[int, StepResult] = context.kept
        failed: dict[int, StepResult] = {}
        slots = asyncio.Semaphore(inputs.max_concurrency)
        told = time.monotonic()

        async def run(index: int, item: Any) -> None:
            nonlocal told
            async with slots:
                result = await run_item(context.step, index, item, context.scope, context.runtime)
                if result.usage is not None:
                    context.meter.add(result.usage)
                (failed if result.state == "failed" else ended)[index] = result
                if time.monotonic() - told >= TOLD_EVERY:
                    told = time.monotonic()
                    done = len(ended) + len(failed)
                    context.runtime.observer.step_progressed(context.step, done, len(failed), len(items))

        waiting = [run(index, item) for index, item in enumerate(items) if index not in ended]
        with rarely_collected():
            await asyncio.gather(*waiting)
        for result in failed.values():
            if isinstance(result.exception, (PersonNeeded, PutAside)):
                raise result.exception
        waits = [result.postponed for result in failed.values() if result.postponed is not None]
        if waits and (len(waits) == len(failed) or inputs.on_item_error != "fail"):
            first = next(result for result in failed.values() if result.postponed is not None)
            raise Postponed(
                f"{len(waits)} of {len(items)} items have to wait, the first because of {first.error}",
                retry_after=max(waits),
            )
        return collect(template, len(items), {**ended, **failed}, inputs.on_item_error)


def listed(items: Any) -> list[Any]:
    """Give what a fan-out goes over.

    Args:
        items: Its input ``items``, resolved.

    Raises:
        InvalidRequest: It is neither a list nor an object.
    """
    if isinstance(items, dict):
        return [{"key": key, "value": value} for key, value in items.items()]
    if not isinstance(items, list):
        raise InvalidRequest(f"'items' must be a list or an object, not {type(items).__name__} ({str(items)[:60]!r})")
    return items


async def run_item(
    step: Step,
    index: int,
    item: Any,
    scope: Scope,
    runtime: Runtime,
    *,
    tried: int = 0,
    spent: StepUsage | None = None,
) -> StepResult:
    """Run the template of a fan-out for one item.

    Args:
        step: The fan-out.
        index: The item's place, counted from 0.
        item: The item.
        scope: What the references of the fan-out resolve to.
        runtime: Clients, settings and the observer.
        tried: Tries that were made for it before it was postponed.
        spent: What those cost.
    """
    assert step.template is not None
    numbered = replace(step.template, id=f"{step.id}[{index}]")
    return await run_step(numbered, scope.with_local(item=item, index=index), runtime, tried=tried, spent=spent)


def collect(template: Step, total: int, ended: Mapping[int, StepResult], on_item_error: OnItemError) -> dict[str, Any]:
    """Make a fan-out's outputs of what its items gave.

    Args:
        template: The step that ran for each item.
        total: How many items there are.
        ended: Index to the item's result, for all of them.
        on_item_error: What a failed item means.

    Raises:
        ItemsFailed: Items failed, and ``on_item_error`` is ``fail``.
    """
    failed = [index for index in range(total) if ended[index].state == "failed"]
    if failed and on_item_error == "fail":
        first = failed[0]
        raise ItemsFailed(f"{len(failed)} of {total} items failed, the first of them [{first}]: {ended[first].error}")
    results = [
        _given(template, ended[index]) if ended[index].state == "completed" else None
        for index in range(total)
        if ended[index].state == "completed" or (ended[index].state == "failed" and on_item_error == "null")
    ]
    states = Counter(ended[index].state for index in range(total))
    return {
        "results": results,
        "errors": [{"index": index, "error": ended[index].error} for index in failed],
        "count": {
            "total": total,
            "completed": states["completed"],
            "failed": states["failed"],
            "skipped": states["skipped"],
        },
    }


def _given(template: Step, result: StepResult) -> Any:
    return dict(result.outputs) if len(template.outputs) > 1 else result.outputs[template.primary_output]

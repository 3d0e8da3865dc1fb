"""``orchestrator:fan-out``: one step for every item of a list, in this process, so many at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.errors import InvalidRequest, ItemsFailed
from airflow_llm_provider.workflow.model import Step

__all__ = ["FanOut", "FanOutInputs"]


class FanOutInputs(Inputs):
    """What to go over, and how; ``task_template`` beside them is the step that runs for each item.

    Attributes:
        items: The list; an object stands for the list of its members, as ``{key, value}``.
        max_concurrency: Most items at the same time.
        on_item_error: ``fail`` the step when all items have ended, ``skip`` the item, or put ``null`` in its place.
    """

    items: Any
    max_concurrency: int = Field(default=10, ge=1, le=1000)
    on_item_error: Literal["fail", "skip", "null"] = "fail"


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
        """
        template = context.step.template
        assert template is not None
        # What a rehearsal left out gives null, and the steps behind it are to be rehearsed all the same.
        rehearsed = inputs.items is None and context.runtime.rehearsal is not None
        items = [] if rehearsed else _listed(inputs.items)
        # Items that have ended in an earlier try of this step are not paid for again.
        ended: dict[int, StepResult] = context.kept
        slots = asyncio.Semaphore(inputs.max_concurrency)

        async def run_item(index: int, item: Any) -> None:
            async with slots:
                numbered = replace(template, id=f"{context.step.id}[{index}]")
                scope = context.scope.with_local(item=item, index=index)
                result = await run_step(numbered, scope, context.runtime)
                if result.usage is not None:
                    context.meter.add(result.usage)
                if result.state != "failed":
                    ended[index] = result
                else:
                    failed[index] = result

        failed: dict[int, StepResult] = {}
        waiting = [run_item(index, item) for index, item in enumerate(items) if index not in ended]
        await asyncio.gather(*waiting)
        if failed and inputs.on_item_error == "fail":
            first = min(failed)
            raise ItemsFailed(
                f"{len(failed)} of {len(items)} items failed, the first of them [{first}]: {failed[first].error}"
            )
        results = [
            None if index in failed else _given(template, ended[index])
            for index in range(len(items))
            if (index in ended and ended[index].state == "completed")
            or (index in failed and inputs.on_item_error == "null")
        ]
        states = Counter(result.state for result in (*ended.values(), *failed.values()))
        return {
            "results": results,
            "errors": [{"index": index, "error": failed[index].error} for index in sorted(failed)],
            "count": {
                "total": len(items),
                "completed": states["completed"],
                "failed": states["failed"],
                "skipped": states["skipped"],
            },
        }


def _listed(items: Any) -> list[Any]:
    if isinstance(items, dict):
        return [{"key": key, "value": value} for key, value in items.items()]
    if not isinstance(items, list):
        raise InvalidRequest(f"'items' must be a list or an object, not {type(items).__name__} ({str(items)[:60]!r})")
    return items


def _given(template: Step, result: StepResult) -> Any:
    return dict(result.outputs) if len(template.outputs) > 1 else result.outputs[template.primary_output]

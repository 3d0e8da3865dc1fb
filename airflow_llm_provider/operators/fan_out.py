"""``orchestrator:fan-out`` as mapped tasks: one gives the items, one for each item runs the template, one collects.

The task that collects has the step's own id, and its XComs are those that the step would have as a single task, so whatever
refers to the step does not see the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from typing_extensions import TypedDict

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.engine.approval import PersonNeeded
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.engine.meter import Meter
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.engine.step import is_wanted, outputs_of_failed, render_inputs, validated_inputs
from airflow_llm_provider.errors import ConfigurationError, ItemsFailed, LLMProviderError
from airflow_llm_provider.executors.fan_out import FanOut, collect, listed, run_item
from airflow_llm_provider.operators.step import STEP_XCOM, WorkflowOperator, WorkflowStepOperator
from airflow_llm_provider.operators.tries import TaskTries
from airflow_llm_provider.workflow.model import Step, Workflow
from airflow_llm_provider.workflow.task_ids import mapped_task_ids

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

__all__ = ["FanOutCollectOperator", "FanOutItemOperator", "FanOutItemsOperator", "Mapped"]

PLAN_XCOM = "fan_out"
"""XCom of the task that gives the items: how many, what a failed one means, when it began; or why there are none."""

RESULTS_XCOM = "items"
"""XCom of the task of an item: the results of the items it ran."""


class Chunk(TypedDict):
    """What one mapped task works on.

    Attributes:
        start: Index of its first item.
        items: Its items: one, unless there are more than Airflow maps over.
    """

    start: int
    items: list[Any]


@dataclass(frozen=True, slots=True, repr=False)
class Mapped:
    """A fan-out, and its workflow, on the way through Airflow's mapping.

    Airflow keeps what it does not know as its text in the serialized DAG. This text is short, and changes with the template, so
    that a change of it is a new version of the DAG, and nothing else is.
    """

    step: Step
    workflow: Workflow

    def __repr__(self) -> str:
        template = self.step.template
        assert template is not None
        return json.dumps({"executor": template.executor, "inputs": template.inputs}, sort_keys=True, default=str)


class FanOutItemsOperator(WorkflowStepOperator):
    """Gives a fan-out's items; its condition is looked at here.

    What keeps them from being given is the step's failure, not this task's: the task that collects tells of it, and knows
    whether the run goes on.
    """

    ui_color = "#fdf1e3"

    def execute(self, context: Context) -> list[Chunk]:  # type: ignore[override]
        """Give the items, in as many chunks as Airflow maps over at most.

        Raises:
            AirflowSkipException: The step's condition is false.
        """
        self._check_may_start(context)
        started = time.time()
        secrets: set[str] = set()
        scope = self.scope(context, self.runtime()).noting_secrets(secrets)
        try:
            if not is_wanted(self.step, scope):
                raise AirflowSkipException(self._why_skipped())
            inputs = validated_inputs(FanOut, render_inputs(self.step, scope))
            items = listed(inputs.items)
            if hide(items, secrets) != items:
                raise ConfigurationError(
                    "the items hold a secret, and mapped items are kept in Airflow's database; "
                    "name the secret in the task_template, or take 'lane: mapped' away"
                )
        except LLMProviderError as error:
            reason = hide(f"{type(error).__name__}: {error}", secrets)
            self.log.error("Step %s has no items: %s", self.step.id, reason)
            context["ti"].xcom_push(PLAN_XCOM, {"error": reason, "started": started})
            return []
        plan = {"error": None, "started": started, "total": len(items), "on_item_error": inputs.on_item_error}
        context["ti"].xcom_push(PLAN_XCOM, plan)
        size = max(1, math.ceil(len(items) / _most_mapped()))
        return [Chunk(start=start, items=items[start : start + size]) for start in range(0, len(items), size)]


class FanOutItemOperator(WorkflowOperator):
    """Runs the template of a fan-out for one item, or for the items of one chunk, one after the other.

    Args:
        mapped: The fan-out and its workflow.
        chunk: The items.
    """

    template_fields: Sequence[str] = ("inputs",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}
    ui_color = "#e3f0e4"

    def __init__(self, *, mapped: Mapped, chunk: Chunk, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert mapped.step.template is not None
        self.workflow = mapped.workflow
        self.step, self.template = mapped.step, mapped.step.template
        self.chunk = chunk
        self.inputs = dict(self.template.inputs)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Any,
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        # A mapped task is rendered here, and not by `render_template_fields`; Jinja has no part in it either.
        if len(self.chunk["items"]) == 1:
            with contextlib.suppress(LLMProviderError):
                scope = self.scope(context, self.runtime()).masked()
                local = scope.with_local(item=self.chunk["items"][0], index=self.chunk["start"])
                self.inputs = render_inputs(self.template, local)

    def execute(self, context: Context) -> None:
        """Run the template for each item; the results are kept, whatever they are.

        Raises:
            AirflowSkipException: The condition of the template is false for all items.
            AirflowException: Items failed.
        """
        tries = TaskTries.of(context, self.policy)
        results = asyncio.run(self._run(context, tries))
        asking = [result for _, result in results if isinstance(result.exception, PersonNeeded)]
        postponed = [result for _, result in results if result.postponed is not None]
        if asking:
            self._wait(context, asking[0], tries, self.template.executor)
        if postponed and all(result.state != "failed" or result in postponed for _, result in results):
            longest = max(postponed, key=lambda result: result.postponed or 0)
            self._wait(context, longest, tries, self.template.executor)
        ti = context["ti"]
        told = [{"index": index, "outputs": dict(result.outputs), **result.record()} for index, result in results]
        ti.xcom_push(RESULTS_XCOM, {"results": told})
        if len(results) == 1:
            ti.xcom_push(STEP_XCOM, results[0][1].record())
        failed = [result for _, result in results if result.state == "failed"]
        if failed:
            hopeless = all(isinstance(result.exception, HOPELESS) for result in failed)
            failure = AirflowFailException if hopeless else AirflowException
            raise failure("; ".join(f"{result.step_id} failed: {result.error}" for result in failed))
        tries.forget()
        if all(result.state == "skipped" for _, result in results):
            raise AirflowSkipException(f"not wanted: ({self.template.condition}) is false")

    async def _run(self, context: Context, tries: TaskTries) -> list[tuple[int, StepResult]]:
        numbered = [*enumerate(self.chunk["items"], self.chunk["start"])]
        # Of several items nobody knows which of them was tried how often.
        tried, spent = (tries.tried, tries.spent) if len(numbered) == 1 else (0, None)
        async with self.runtime(context) as runtime:
            runtime.longest_wait = tries.longest_wait
            scope = self.scope(context, runtime)
            return [
                (index, await run_item(self.step, index, item, scope, runtime, tried=tried, spent=spent))
                for index, item in numbered
            ]


class FanOutCollectOperator(WorkflowStepOperator):
    """Makes a fan-out's outputs of what the tasks of its items left."""

    template_fields: Sequence[str] = ()
    ui_color = "#fdf1e3"

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Do nothing: the task that gives the items shows the step's inputs."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Collect; the outputs are the task's XCom.

        Raises:
            AirflowSkipException: The step was skipped before there were items.
            AirflowException: The step failed, or one that it waits for.
        """
        ti = context["ti"]
        items_task, _ = mapped_task_ids(self.step.task_id)
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[items_task], run_ids=[ti.run_id])
        state = states.get(ti.run_id, {}).get(items_task)
        if state == "skipped":
            raise AirflowSkipException(f"step {self.step.id!r} was skipped; the log of {items_task!r} tells why")
        plan = ti.xcom_pull(task_ids=items_task, key=PLAN_XCOM)
        if state == "upstream_failed" or (state == "failed" and self._has_pending_record(context, items_task)):
            ti.xcom_push(STEP_XCOM, StepResult(self.step.id, "pending").record())
            raise AirflowFailException(f"a step that {self.step.id!r} waits for has failed")
        if state != "success" or plan is None:
            plan = {"error": f"ItemsFailed: the task {items_task!r} ended as {state}; its log tells why"}
        return self._end(context, self._result(context, plan), TaskTries.of(context, self.policy))

    def _has_pending_record(self, context: Context, items_task: str) -> bool:
        record = context["ti"].xcom_pull(task_ids=items_task, key=STEP_XCOM)
        return isinstance(record, dict) and record.get("state") == "pending"

    def _result(self, context: Context, plan: Mapping[str, Any]) -> StepResult:
        assert self.step.template is not None
        error: str | None = plan["error"]
        failure: Exception | None = None
        outputs: dict[str, Any] = {}
        meter = Meter()
        if error is None:
            ended = self._ended(context, plan["total"])
            for result in ended.values():
                if result.usage is not None:
                    meter.add(result.usage)
            try:
                outputs = collect(self.step.template, plan["total"], ended, plan["on_item_error"])
            except ItemsFailed as items_failed:
                failure = items_failed
                error = f"{type(failure).__name__}: {failure}"
        given = {name: outputs.get(key) for name, key in self.step.outputs.items()}
        return StepResult(
            self.step.id,
            state="completed" if error is None else "failed",
            outputs=given if error is None else outputs_of_failed(self.step),
            error=error,
            attempts=1,
            execution_time=(time.time() - plan.get("started", time.time())) * 1000,
            usage=meter.total(1),
            exception=failure,
        )

    def _ended(self, context: Context, total: int) -> dict[int, StepResult]:
        _, item_task = mapped_task_ids(self.step.task_id)
        # All of them at once; Airflow gives the only one as it is, and not in a list.
        pulled = context["ti"].xcom_pull(task_ids=item_task, key=RESULTS_XCOM) or []
        told = [
            result
            for part in ([pulled] if isinstance(pulled, dict) else pulled)
            if part is not None
            for result in part["results"]
        ]
        ended = {index: self._lost(index) for index in range(total)}
        # An earlier run of the same tasks may have had more items.
        ended |= {result["index"]: self._read(result) for result in told if result["index"] < total}
        return ended

    def _lost(self, index: int) -> StepResult:
        error = "ItemsFailed: the task of the item ended without a result; its log tells why"
        return StepResult(f"{self.step.id}[{index}]", "failed", error=error)

    def _read(self, told: Mapping[str, Any]) -> StepResult:
        return StepResult(
            f"{self.step.id}[{told['index']}]",
            told["state"],
            outputs=told["outputs"],
            error=told["error"],
            attempts=told["attempts"],
            execution_time=told["execution_time"],
            usage=StepUsage.from_dict(told["usage"]) if told["usage"] else None,
        )


def _most_mapped() -> int:
    from airflow.sdk.configuration import conf

    most: int = conf.getint("core", "max_map_length", fallback=1024)
    return max(1, most)

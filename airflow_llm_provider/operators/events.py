"""What a workflow has for the end of a run, as the last task of its DAG."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.engine.events import Ending, run_events, steps_at
from airflow_llm_provider.engine.inputs import bind_inputs
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.run import step_scope, workflow_outputs
from airflow_llm_provider.engine.scope import MemoryResults, Run, Scope
from airflow_llm_provider.errors import LLMProviderError
from airflow_llm_provider.operators.step import SKIPPED_XCOM, STEP_XCOM, WorkflowOperator
from airflow_llm_provider.workflow.model import Workflow
from airflow_llm_provider.workflow.task_ids import EVENT_TASK, OUTPUTS_TASK

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["WorkflowEventsOperator", "run_timeout_events"]


class WorkflowEventsOperator(WorkflowOperator):
    """Does what the workflow has for the way its run has ended; each one's record is in the task's XCom.

    Args:
        workflow: The workflow.
    """

    ui_color = "#f3eefb"

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Do it.

        Raises:
            AirflowSkipException: The run is for no event that the workflow waits for.
            AirflowException: One of them failed, all its tries included; the run ends as it did before.
        """
        from airflow.sdk.exceptions import AirflowException, AirflowSkipException

        if self.workflow.trigger is not None:
            reason = context["ti"].xcom_pull(task_ids=EVENT_TASK, key=SKIPPED_XCOM)
            if reason:
                raise AirflowSkipException(reason)
        ending, error = self._ending(context)
        results = asyncio.run(self._run(context, ending, error))
        told = {result.step_id: result.record() for result in results}
        context["ti"].xcom_push("events", told)
        failed = [f"{result.step_id}: {result.error}" for result in results if result.state == "failed"]
        if failed:
            raise AirflowException("; ".join(failed))
        return {"ending": ending, "events": told}

    def _ending(self, context: Context) -> tuple[Ending, str | None]:
        ti = context["ti"]
        # Whoever marks a run as failed or as a success does it while its last task has not yet run.
        if ti.get_dagrun_state(ti.dag_id, ti.run_id) != "running":
            return "cancelled", "the run was cancelled"
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        # The tasks of a fan-out's items have no say: the step that collects them has.
        names = {OUTPUTS_TASK: OUTPUTS_TASK, **{step.task_id: step.id for step in self.workflow.steps}}
        records = {
            name: ti.xcom_pull(task_ids=task_id, key=STEP_XCOM) or {}
            for task_id, name in names.items()
            if states.get(task_id) == "failed"
        }
        if not records:
            return "completed", None
        # One that only waited for another that failed does not tell why.
        name = next((name for name, record in records.items() if record.get("state") != "pending"), next(iter(records)))
        told = records[name].get("error") or "the task failed; its log tells why"
        # The task of a whole workflow tells itself which step it was.
        return "failed", told if name == OUTPUTS_TASK else f"{name}: {told}"

    async def _run(self, context: Context, ending: Ending, error: str | None) -> tuple[StepResult, ...]:
        if not steps_at(self.workflow, ending):
            return ()
        async with self.runtime() as runtime:
            scope = self.scope(context, runtime)
            try:
                outputs = self._outputs(context, scope) if ending == "completed" else {}
            except LLMProviderError:
                # The task that computes them has told of it.
                outputs = {}
            return await run_events(self.workflow, scope, runtime, ending, outputs=outputs, error=error)

    def _outputs(self, context: Context, scope: Scope) -> Mapping[str, Any]:
        computed = context["ti"].xcom_pull(task_ids=OUTPUTS_TASK, key="return_value")
        return computed if isinstance(computed, dict) else workflow_outputs(self.workflow, scope)


def run_timeout_events(workflow: Workflow, context: Context) -> None:
    """Do what a workflow has for a run that took too long; a DAG's ``on_failure_callback``.

    Args:
        workflow: The workflow.
        context: What Airflow gives its callbacks.
    """
    if context.get("reason") != "timed_out":
        return
    operator = WorkflowOperator(task_id="events")
    dag_run = context["dag_run"]

    async def run() -> tuple[StepResult, ...]:
        async with operator.runtime() as runtime:
            inputs = bind_inputs(
                workflow, {**{item.name: item.default for item in workflow.inputs}, **(dag_run.conf or {})}
            )
            facts = Run(dag_run.run_id, dag_run.run_after.isoformat(), environment=runtime.settings.environment)
            scope = step_scope(workflow, inputs, facts, MemoryResults(), runtime)
            error = f"TimeoutError: the run took longer than {workflow.timeout:g} s"
            return await run_events(workflow, scope, runtime, "timeout", outputs={}, error=error)

    for result in asyncio.run(run()):
        if result.state == "failed":
            operator.log.error("%s failed: %s", result.step_id, result.error)

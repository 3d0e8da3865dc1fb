"""A whole workflow as one Airflow task, run by the engine inside it: ``airflow: {granularity: workflow}``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.inputs import bind_inputs
from airflow_llm_provider.engine.result import RunResult, StepResult
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.operators.step import STEP_XCOM, WorkflowOperator
from airflow_llm_provider.workflow.model import Workflow

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["STEPS_XCOM", "WorkflowRunOperator"]

STEPS_XCOM = "steps"
"""XCom with the record and the outputs of every step, whether the run completed or failed."""


async def _nobody(question: Question) -> Answer:
    raise ConfigurationError(
        f"step {question.step_id!r} has to ask a person ({question.message!r}), which a task that is the whole workflow "
        "cannot; take 'granularity' away"
    )


class WorkflowRunOperator(WorkflowOperator):
    """Runs every step of the workflow in one process; the declared outputs are the task's XCom.

    Ten steps for the price of one task, and no logs, retries and resources of their own for each. A task that is tried again
    runs all of them again, but does not pay again for answers that it has.

    Args:
        workflow: The workflow.
    """

    ui_color = "#e3f0e4"

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Run it.

        Raises:
            AirflowException: A step failed; what the steps did and cost is in the XComs all the same.
        """
        result = asyncio.run(self._run(context))
        ti = context["ti"]
        ti.xcom_push(
            STEPS_XCOM,
            {step_id: {"outputs": dict(step.outputs), **step.record()} for step_id, step in result.steps.items()},
        )
        if result.state == "failed":
            # As a step's own task would leave it, for what is done at the end of the run.
            ti.xcom_push(STEP_XCOM, StepResult(self.task_id, "failed", error=result.error).record())
            failed = [step.exception for step in result.steps.values() if step.state == "failed"]
            failure = AirflowFailException if any(isinstance(item, HOPELESS) for item in failed) else AirflowException
            raise failure(f"workflow {self.workflow.name!r} failed: {result.error}")
        return dict(result.outputs)

    async def _run(self, context: Context) -> RunResult:
        dag_run = context["dag_run"]
        # The task behind this one does what follows the end of the run.
        workflow = replace(self.workflow, events={})
        async with self.runtime(context) as runtime:
            runtime.ask = _nobody
            return await run_workflow(
                workflow,
                bind_inputs(workflow, dict(context["params"])),
                runtime,
                user=getattr(dag_run, "triggering_user_name", None) or "",
                run_id=dag_run.run_id,
                started_at=dag_run.run_after.isoformat(),
            )

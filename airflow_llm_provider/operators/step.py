"""One step of a workflow as one Airflow task.

The operators keep the templates of a workflow file away from Jinja: :meth:`WorkflowStepOperator.render_template_fields` fills the
template fields by the workflow language's own rules, so that the Rendered Templates tab shows what will be asked, and neither
a user's text nor a model's answer is ever read as a Jinja template.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airflow_llm_provider.engine.approval import Answer, PersonNeeded, Question
from airflow_llm_provider.engine.inputs import bind_inputs
from airflow_llm_provider.engine.result import StepResult, StepState
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.engine.run import step_scope, workflow_outputs
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Run, Scope
from airflow_llm_provider.engine.step import render_inputs, run_step
from airflow_llm_provider.errors import LLMProviderError
from airflow_llm_provider.hooks.runtime import task_runtime
from airflow_llm_provider.operators.people import answer_of, ask_person
from airflow_llm_provider.operators.tries import TaskTries
from airflow_llm_provider.workflow.graph import Graph
from airflow_llm_provider.workflow.model import Step, Workflow

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

__all__ = [
    "SKIPPED_XCOM",
    "STEP_XCOM",
    "USAGE_XCOM",
    "LLMStepOperator",
    "WorkflowOperator",
    "WorkflowOutputsOperator",
    "WorkflowStepOperator",
    "record",
    "step_failure",
]

SKIPPED_XCOM = "skipped"
"""XCom with the reason why the steps of a run that only hands events on are skipped."""

STEP_XCOM = "step"
"""XCom with a step's state, error, tries, time and settings, whether it completed or failed."""

USAGE_XCOM = "llm_usage"
"""XCom with what the model calls of a step cost, whether it completed or failed."""


_STEP_STATES: Mapping[str | None, StepState] = {
    "success": "completed",
    "failed": "failed",
    "skipped": "skipped",
    "running": "running",
}
"""Airflow's state of a task to the step's; every other one is ``pending``."""


class TaskResults:
    """The results of other tasks of the run, pulled from XCom one by one when a reference needs them.

    Args:
        context: The Airflow context of the running task.
        workflow: The workflow.
    """

    def __init__(self, context: Context, workflow: Workflow) -> None:
        self._ti = context["ti"]
        self._task_ids = {step.id: step.task_id for step in workflow.steps}
        self._pulled: dict[tuple[str, str], Any] = {}

    def outputs(self, step_id: str) -> Mapping[str, Any] | None:
        """Give a step's outputs by name."""
        return self._pull(step_id, "return_value")

    def record(self, step_id: str) -> Mapping[str, Any] | None:
        """Give a step's record; of a task that left none (it was skipped, killed, or never ran), Airflow knows the state."""
        return self._pull(step_id, STEP_XCOM) or {"state": self._state(step_id)}

    def _state(self, step_id: str) -> str:
        task_id = self._task_ids[step_id]
        states = self._ti.get_task_states(dag_id=self._ti.dag_id, task_ids=[task_id], run_ids=[self._ti.run_id])
        return _STEP_STATES.get(states.get(self._ti.run_id, {}).get(task_id), "pending")

    def _pull(self, step_id: str, key: str) -> Mapping[str, Any] | None:
        at = (step_id, key)
        if at not in self._pulled:
            self._pulled[at] = self._ti.xcom_pull(task_ids=self._task_ids[step_id], key=key)
        pulled: Mapping[str, Any] | None = self._pulled[at]
        return pulled


def record(ti: Any, result: StepResult) -> None:
    """Leave a step's record and what it cost in the XComs of its task, whether it completed or failed.

    Args:
        ti: The task instance.
        result: How the step ended.
    """
    ti.xcom_push(STEP_XCOM, result.record())
    if result.usage is not None:
        ti.xcom_push(USAGE_XCOM, result.usage.to_dict())


def step_failure(result: StepResult) -> AirflowException:
    """Give the exception of a task whose step has failed; what can never succeed is not tried again by Airflow either.

    Args:
        result: How the step ended.
    """
    failure = AirflowFailException if isinstance(result.exception, HOPELESS) else AirflowException
    return failure(f"step {result.step_id!r} failed: {result.error}")


class WorkflowOperator(BaseOperator):
    """What the operators of one workflow share; it has no ``__init__``, because Airflow wraps each one at some cost."""

    workflow: Workflow
    ui_color = "#eef5ff"
    _event: Mapping[str, Any] | None = None

    def runtime(self, context: Context | None = None) -> Runtime:
        """Give the runtime of a task.

        Args:
            context: Airflow's context, where steps are run and what they pay for is to be kept.
        """
        resumed = self._event is not None
        return task_runtime(self.log, context, is_resumed=resumed, ask=self._ask)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Do it all again, with the answer of a person who was asked; what was paid for is not paid again.

        Args:
            context: Airflow's context.
            event: What Airflow says of the answer.
        """
        self._event = event
        return self.execute(context)

    async def _ask(self, question: Question) -> Answer:
        if self._event is None:
            raise PersonNeeded(question)
        event, self._event = self._event, None
        return answer_of(question, event)

    def _wait(self, context: Context, result: StepResult, tries: TaskTries, executor: str) -> None:
        """End the task for now if its step waits: for a person, or for long.

        Raises:
            TryLater: It waits for long.
        """
        if isinstance(result.exception, PersonNeeded):
            ask_person(self.task_id, result.exception.question, context)
        if result.postponed is not None:
            raise tries.later(result, executor) from result.exception

    @property
    def policy(self) -> object | None:
        """The task's retry policy, which Airflow has since 3.3."""
        return getattr(self, "retry_policy", None)

    def scope(self, context: Context, runtime: Runtime) -> Scope:
        """Give what references resolve to in this task.

        Raises:
            InvalidRequest: The run's inputs do not fit the workflow.
        """
        dag_run = context["dag_run"]
        run = Run(
            id=dag_run.run_id,
            started_at=dag_run.run_after.isoformat(),
            user=getattr(dag_run, "triggering_user_name", None) or "",
            environment=runtime.settings.environment,
        )
        inputs = bind_inputs(self.workflow, dict(context["params"]))
        return step_scope(self.workflow, inputs, run, TaskResults(context, self.workflow), runtime)


class WorkflowStepOperator(WorkflowOperator):
    """Runs one step.

    Args:
        step: The step.
        workflow: The workflow it belongs to.
        task_id: The task's id; the step's when None.
    """

    template_fields: Sequence[str] = ("inputs",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}

    def __init__(self, *, step: Step, workflow: Workflow, task_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(task_id=task_id or step.task_id, **kwargs)
        self.workflow = workflow
        self.step = step
        self._show(step.inputs)

    def _show(self, inputs: Mapping[str, Any]) -> None:
        """Put the step's inputs into the template fields."""
        self.inputs = dict(inputs)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Fill the template fields with what the step will work on; Jinja has no part in it.

        Secrets show as ``***``. A template that cannot be evaluated is left as it is written; running the step tells why.
        """
        # What cannot be resolved fails in `execute`, where the reason is kept; and a skipped step need not be resolved at all.
        with contextlib.suppress(LLMProviderError):
            self._show(render_inputs(self.step, self.scope(context, self.runtime()).masked()))

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; its outputs are the task's XCom.

        Raises:
            AirflowSkipException: The step's condition is false.
            AirflowException: The step failed; what it cost is in its XComs all the same.
        """
        self._check_may_start(context)
        tries = TaskTries.of(context, self.policy)
        result = asyncio.run(self._run(context, tries))
        self._wait(context, result, tries, self.step.executor)
        return self._end(context, result, tries)

    def _end(self, context: Context, result: StepResult, tries: TaskTries) -> dict[str, Any]:
        """End the task the way the step has ended."""
        if result.state == "skipped":
            raise AirflowSkipException(self._why_skipped())
        ti = context["ti"]
        record(ti, result)
        if result.state == "failed":
            hopeless = isinstance(result.exception, HOPELESS)
            if self.step.continues and (hopeless or tries.is_last):
                # To Airflow it is a success, because only so the tasks behind it run and the run succeeds.
                self.log.error("Step %s failed, and the run continues: %s", self.step.id, result.error)
                return dict(result.outputs)
            raise step_failure(result) from result.exception
        tries.forget()
        return dict(result.outputs)

    def _why_skipped(self) -> str:
        conditions = " and ".join(f"{'not ' * gate.negated}({gate.condition})" for gate in self.step.wanted)
        return f"step {self.step.id!r} is not wanted: {conditions} is false"

    def _check_may_start(self, context: Context) -> None:
        """Hold the rules that no trigger rule of Airflow can express.

        Raises:
            AirflowSkipException: Another step of a workflow that fails fast has failed; or all steps before it were skipped.
            AirflowFailException: A step before it has failed, beside one whose end only is waited for.
        """
        if not self.workflow.fail_fast and not self.step.after:
            return
        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        # An item of a fan-out may fail, and the step succeed all the same.
        failed = [step.id for step in self.workflow.steps if states.get(step.task_id) == "failed"]
        if self.workflow.fail_fast and failed:
            raise AirflowSkipException(f"the run fails fast, and {failed[0]!r} has failed")
        if not self.step.after:
            return
        graph = Graph(self.workflow)
        before = {states.get(graph.steps[step_id].task_id) for step_id in graph.upstream(self.step.id)}
        if before & {"failed", "upstream_failed"}:
            ti.xcom_push(STEP_XCOM, StepResult(self.step.id, "pending").record())
            raise AirflowFailException(f"a step that {self.step.id!r} waits for has failed")
        if before == {"skipped"}:
            raise AirflowSkipException(f"all steps that {self.step.id!r} waits for were skipped")

    async def _run(self, context: Context, tries: TaskTries) -> StepResult:
        async with self.runtime(context) as runtime:
            runtime.longest_wait = tries.longest_wait
            scope = self.scope(context, runtime)
            return await run_step(self.step, scope, runtime, tried=tries.tried, spent=tries.spent)


class LLMStepOperator(WorkflowStepOperator):
    """Runs one ``llm`` step; prompt and system text have fields of their own in the Rendered Templates tab."""

    template_fields: Sequence[str] = ("prompt", "system", "messages", "parameters")
    template_fields_renderers: ClassVar[dict[str, str]] = {"messages": "json", "parameters": "json"}
    ui_color = "#e3f0e4"

    def _show(self, inputs: Mapping[str, Any]) -> None:
        self.prompt = inputs.get("prompt")
        self.system = inputs.get("system")
        self.messages = inputs.get("messages")
        self.parameters = {
            name: value for name, value in inputs.items() if name not in ("prompt", "system", "messages")
        }


class WorkflowOutputsOperator(WorkflowOperator):
    """Computes the workflow's declared outputs once all steps have ended; they are the task's XCom.

    Args:
        workflow: The workflow.
    """

    ui_color = "#fff4dd"

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Compute the outputs.

        Raises:
            ExpressionError: An output cannot be evaluated.
        """
        return workflow_outputs(self.workflow, self.scope(context, self.runtime()))

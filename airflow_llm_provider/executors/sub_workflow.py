"""``orchestrator:workflow``: another workflow, or a template with inputs, as one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.errors import ConfigurationError, WorkflowFailed
from airflow_llm_provider.workflow.model import Step

__all__ = ["SubWorkflow", "SubWorkflowInputs"]


class SubWorkflowInputs(Inputs):
    """What to run.

    Attributes:
        workflow: The name of a workflow in the same folder; ``template`` is another name for it.
        template: The name of a template.
        inputs: Its inputs.
    """

    workflow: str | None = Field(default=None, min_length=1)
    template: str | None = Field(default=None, min_length=1)
    inputs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.workflow is None) is (self.template is None):
            raise ValueError("give exactly one of 'workflow' and 'template'")
        return self


class SubWorkflow(Executor[SubWorkflowInputs]):
    """Runs a workflow within the step, by the same engine; it fails when that workflow does."""

    outputs: ClassVar[tuple[str, ...]] = ("outputs", "states", "run_id")
    Inputs = SubWorkflowInputs

    async def run(self, inputs: SubWorkflowInputs, context: StepContext) -> Mapping[str, Any]:
        """Run it.

        Returns:
            ``outputs`` (its declared results), ``states`` (step id to state) and ``run_id``.

        Raises:
            InvalidRequest: The inputs do not fit that workflow.
            WorkflowFailed: It failed.
        """
        name = inputs.workflow or inputs.template or ""
        workflow = context.scope.workflows.get(name)
        if workflow is None:
            raise ConfigurationError(f"there is no workflow {name!r} beside this one")
        result = await run_workflow(
            workflow,
            inputs.inputs,
            context.runtime.within(context.step.id, _Within(context.step.id, context.runtime.observer)),
            user=context.scope.run.user,
            run_id=f"{context.run_id}/{context.step.id}",
            payer=context.scope.payer,
        )
        for step in result.steps.values():
            if step.usage is not None:
                context.meter.add(step.usage)
        if result.state == "failed":
            raise WorkflowFailed(f"workflow {name!r} failed: {result.error}")
        return {
            "outputs": dict(result.outputs),
            "states": {step_id: step.state for step_id, step in result.steps.items()},
            "run_id": result.run_id,
        }


class _Within(Observer):
    """Tells of the steps of a workflow as steps of the one that runs it."""

    def __init__(self, step_id: str, observer: Observer) -> None:
        self._step_id, self._observer = step_id, observer

    def _named(self, step: Step) -> Step:
        return replace(step, id=f"{self._step_id}/{step.id}")

    def step_started(self, step: Step) -> None:
        self._observer.step_started(self._named(step))

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        self._observer.step_retrying(self._named(step), attempt, error, wait)

    def step_logged(self, step: Step, message: str) -> None:
        self._observer.step_logged(self._named(step), message)

    def step_progressed(self, step: Step, done: int, failed: int, total: int) -> None:
        self._observer.step_progressed(self._named(step), done, failed, total)

    def step_left_out(self, step: Step) -> None:
        self._observer.step_left_out(self._named(step))

    def step_finished(self, step: Step, result: StepResult) -> None:
        self._observer.step_finished(self._named(step), result)

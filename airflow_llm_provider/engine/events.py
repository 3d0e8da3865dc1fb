"""What is done when a run has ended: ``events`` of a workflow file. None of it changes how the run ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Scope
from airflow_llm_provider.engine.step import run_step
from airflow_llm_provider.workflow.model import Moment, Step, Workflow
from airflow_llm_provider.workflow.names import Names

__all__ = ["Ending", "run_events", "steps_at"]

Ending = Literal["completed", "failed", "timeout", "cancelled"]
"""How a run ended, as ``workflow.status`` tells it."""

_MOMENTS: Mapping[Ending, tuple[Moment, ...]] = {
    "completed": ("onSuccess",),
    "failed": ("onFailure",),
    # A file that says nothing of a timeout means it as a failure.
    "timeout": ("onTimeout", "onFailure"),
    "cancelled": ("onCancel",),
}


def steps_at(workflow: Workflow, ending: Ending) -> tuple[Step, ...]:
    """Give the steps that a workflow has for an ending.

    Args:
        workflow: The workflow.
        ending: How the run ended.
    """
    return next((workflow.events[moment] for moment in _MOMENTS[ending] if moment in workflow.events), ())


async def run_events(
    workflow: Workflow,
    scope: Scope,
    runtime: Runtime,
    ending: Ending,
    *,
    outputs: Mapping[str, Any],
    error: str | None = None,
) -> tuple[StepResult, ...]:
    """Do what a workflow has for an ending, one after the other; one that fails keeps no other from running.

    Args:
        workflow: The workflow.
        scope: The scope of its steps.
        runtime: Clients, settings and the observer.
        ending: How the run ended.
        outputs: The run's results.
        error: Why it failed.
    """
    facts = {**scope.workflow, "status": ending, "error": {"message": error} if error else None}
    final = replace(scope, names=Names(workflow, in_outputs=True), workflow=facts, workflow_outputs=outputs)
    return tuple([await run_step(step, final, runtime) for step in steps_at(workflow, ending)])

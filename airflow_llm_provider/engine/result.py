"""What comes out of a step and of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_llm_provider.accounting.usage import StepUsage

__all__ = ["RunResult", "StepResult", "StepState"]

StepState = Literal["pending", "running", "completed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended.

    Attributes:
        step_id: The step's id as the file writes it.
        state: How it ended.
        outputs: Name in the workflow to value, primary output first; empty unless completed.
        error: What went wrong, as ``ErrorClass: message``; None unless failed.
        attempts: Tries made; 0 for a skipped step.
        execution_time: Milliseconds from the first try's start to the end, waits included.
        usage: What the model calls cost; None for a step that asks no model.
        config: The step's resolved settings, for ``tasks.<id>.config``.
        exception: The error itself, for a caller that raises it again.
        postponed: Seconds until it is to be tried again, by whoever ran it; None when it has ended for good.
    """

    step_id: str
    state: StepState
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    attempts: int = 0
    execution_time: float = 0.0
    usage: StepUsage | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    exception: Exception | None = field(default=None, repr=False, compare=False)
    postponed: float | None = None

    def record(self) -> dict[str, Any]:
        """Give everything but the outputs as plain JSON, for ``tasks.<id>.…`` and for people."""
        return {
            "state": self.state,
            "error": self.error,
            "attempts": self.attempts,
            "execution_time": round(self.execution_time, 3),
            "config": dict(self.config),
            "usage": self.usage.to_dict() if self.usage else None,
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        run_id: The run's id.
        workflow: The workflow's name.
        state: ``completed``, or ``failed`` when a step failed or time ran out.
        outputs: The workflow's results; see :func:`airflow_llm_provider.engine.run.run_workflow`.
        steps: Step id to result, in the file's order; a step that never started is ``pending``.
        error: Why the run failed.
        events: What was done because it ended so.
        execution_time: Milliseconds from start to end, those not included.
    """

    run_id: str
    workflow: str
    state: Literal["completed", "failed"]
    outputs: Mapping[str, Any]
    steps: Mapping[str, StepResult]
    error: str | None = None
    events: tuple[StepResult, ...] = ()
    execution_time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the whole result as plain JSON."""
        return {
            "run_id": self.run_id,
            "workflow": self.workflow,
            "state": self.state,
            "error": self.error,
            "execution_time": round(self.execution_time, 3),
            "outputs": dict(self.outputs),
            "steps": {name: {"outputs": dict(step.outputs), **step.record()} for name, step in self.steps.items()},
            "events": [
                {"event": event.step_id, "outputs": dict(event.outputs), **event.record()} for event in self.events
            ],
        }

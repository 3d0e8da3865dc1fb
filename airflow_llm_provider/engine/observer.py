"""What the engine tells while it works: to a progress display, a task log, a test."""

from __future__ import annotations

from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.workflow.model import Step

__all__ = ["Observer"]


class Observer:
    """Hears of every step; each method does nothing until a subclass says otherwise."""

    def step_started(self, step: Step) -> None:
        """Hear that a step's first try begins."""

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        """Hear that a try failed and another will follow.

        Args:
            step: The step.
            attempt: Which try failed, counted from 1.
            error: Why, as ``ErrorClass: message``.
            wait: Seconds until the next try.
        """

    def step_logged(self, step: Step, message: str) -> None:
        """Hear a line that the step itself writes for people."""

    def step_progressed(self, step: Step, done: int, failed: int, total: int) -> None:
        """Hear how far a long step has come, every few seconds.

        Args:
            step: The step.
            done: Items that have ended, whichever way.
            failed: Those of them that failed.
            total: All items.
        """

    def step_left_out(self, step: Step) -> None:
        """Hear that a rehearsal does not do a step's work, because it would reach out; its outputs are null."""

    def step_finished(self, step: Step, result: StepResult) -> None:
        """Hear how a step ended, skipped ones included."""

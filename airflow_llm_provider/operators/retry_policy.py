"""When Airflow runs the task of a step again: after a long wait that the step asks for, and as often as the file says.

A module of its own, because Airflow has retry policies since 3.3 only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import RetryDecision, RetryPolicy

from airflow_llm_provider.operators.tries import TaskTries, TryLater

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["StepRetryPolicy"]


class StepRetryPolicy(RetryPolicy):
    """Tells the tries of a step that only waits from those of a task that has failed.

    Args:
        retries: How often the task is run again when it fails. The task's own ``retries`` are more than these: long waits take
            from them as well.
    """

    def __init__(self, retries: int) -> None:
        self.retries = retries

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide; the arguments are those of Airflow's :meth:`RetryPolicy.evaluate`."""
        if isinstance(exception, TryLater):
            return RetryDecision.retry(exception.wait, str(exception))
        if not self.retries or context is None:
            return RetryDecision.fail()
        tries = TaskTries.of(context, self)
        if tries.is_last:
            tries.forget()
            return RetryDecision.fail()
        tries.fail()
        return RetryDecision.default()

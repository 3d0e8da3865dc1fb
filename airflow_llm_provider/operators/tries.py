"""The tries of a step, over the tries of its task: a long wait between two of them is Airflow's, and holds no worker slot.

A step that has to wait for longer than :data:`LONGEST_WAIT` ends its task with :class:`TryLater`, and the task's retry policy
(:mod:`airflow_llm_provider.operators.retry_policy`) has Airflow run it again when the provider said. What was tried and spent until
then is kept in the task's state store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.workflow.model import Retry, Step

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "LONGEST_WAIT",
    "MODEL_STEPS",
    "TaskTries",
    "TryLater",
    "repeat_arguments",
    "retry_arguments",
    "waiting_arguments",
]

LONGEST_WAIT = 30.0
"""Seconds; the longest wait between two tries of a step that a task spends in its worker."""

MODEL_STEPS = frozenset({"llm", "embed"})
"""Executors that a provider may tell to wait for long."""

REPEATABLE = frozenset(
    {
        "transform", "json-transform", "text-transform", "parallel", "branch", "orchestrator:assert", "vector_search",
        "vector_upsert", "vector_delete", "storage:s3-list", "storage:s3-download", "storage:s3-upload",
        "llm-test-bench:semantic-similarity", "llm-test-bench:multi-metric", "llm-governance:policy-check",
        "llm-auto-optimizer:request-recommendations",
    }
)  # fmt: skip
"""Executors that change nothing when they run a second time."""

LOSSES = 2
"""How often a task is run again whose worker was lost, where that changes nothing."""

_KEY = "tries"


class TryLater(AirflowException):
    """The step is to be tried again later.

    Attributes:
        wait: After how long.
    """

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait


def retry_arguments(step: Step, retries: int | None) -> dict[str, Any]:
    """Give what the task of a step needs so that Airflow can take its long waits, and runs it again when its worker is lost.

    Both are nothing where no long waits are to be expected, and where it might do a second time what it has done.

    Args:
        step: The step.
        retries: How often the whole task is to be run again when it fails; Airflow's default when None.
    """
    asking = step if step.template is None else step.template
    if asking.executor in MODEL_STEPS:
        return waiting_arguments(_retries(retries), (asking.retry or Retry()).max_attempts)
    # A fan-out's items are run in one task, which tells by itself which of them are done.
    return repeat_arguments(retries) if step.template is None and step.executor in REPEATABLE else {}


def repeat_arguments(retries: int | None) -> dict[str, Any]:
    """Give what a task needs so that Airflow runs it again when its worker is lost, and only then; nothing before Airflow 3.3.

    Args:
        retries: How often it is to be run again when it fails; Airflow's default when None.
    """
    return waiting_arguments(_retries(retries), LOSSES + 1)


def _retries(retries: int | None) -> int:
    if retries is None:
        from airflow.sdk.configuration import conf

        return int(conf.getint("core", "default_task_retries", fallback=0))
    return retries


def waiting_arguments(retries: int, tries: int) -> dict[str, Any]:
    """Give what a task needs so that Airflow can take the long waits of its tries; nothing before Airflow 3.3.

    Args:
        retries: How often the whole task is to be run again when it fails.
        tries: Most tries of what it does.
    """
    if tries < 2 or find_spec("airflow.sdk.definitions.retry_policy") is None:
        return {}
    from airflow_llm_provider.operators.retry_policy import StepRetryPolicy

    return {"retries": retries + tries - 1, "retry_policy": StepRetryPolicy(retries)}


@dataclass(slots=True)
class TaskTries:
    """What the tries of a task until now have left.

    Attributes:
        tried: Tries of the step since the task has last failed.
        failed: How often the task has failed.
        spent: What the tries of the step have cost.
    """

    _store: Any
    _is_last_of_airflow: bool
    _retries: int | None
    tried: int = 0
    failed: int = 0
    spent: StepUsage | None = None

    @classmethod
    def of(cls, context: Context, policy: object | None) -> TaskTries:
        """Read what is left.

        Args:
            context: Airflow's context of the task.
            policy: The task's retry policy; without one, Airflow takes no waits.
        """
        ti, store = context["ti"], context.get("task_state_store")
        retries = None if store is None else getattr(policy, "retries", None)
        tries = cls(store, ti.try_number > ti.max_tries, retries)
        left: Any = None if store is None or retries is None or ti.try_number == 1 else store.get(_KEY)
        if left:
            tries.tried, tries.failed = left["tried"], left["failed"]
            tries.spent = StepUsage.from_dict(left["spent"]) if left["spent"] else None
        return tries

    @property
    def longest_wait(self) -> float | None:
        """Seconds that the worker may wait between two tries; None when Airflow would not run the task again."""
        return None if self._retries is None or self._is_last_of_airflow else LONGEST_WAIT

    def later(self, result: StepResult, executor: str) -> TryLater:
        """Keep what was tried and spent, and give the exception that ends the task until the next try.

        Args:
            result: A result that is postponed.
            executor: The step's.
        """
        assert result.postponed is not None
        # What the parts of other steps have cost is told again with their answers, which are kept.
        self.tried, self.spent = result.attempts, result.usage if executor == "llm" else None
        self._keep()
        wait = timedelta(seconds=result.postponed)
        return TryLater(f"step {result.step_id!r} is tried again after {wait}: {result.error}", wait)

    @property
    def is_last(self) -> bool:
        """Whether the task has failed for good when it fails now."""
        return self._is_last_of_airflow if self._retries is None else self.failed >= self._retries

    def fail(self) -> None:
        """Keep that the task has failed; the tries of the step begin anew."""
        self.tried, self.failed, self.spent = 0, self.failed + 1, None
        self._keep()

    def forget(self) -> None:
        """Leave nothing, so that a task that is cleared begins anew."""
        if self.tried or self.failed:
            self._store.delete(_KEY)

    def _keep(self) -> None:
        spent = self.spent.to_dict() if self.spent else None
        self._store.set(_KEY, {"tried": self.tried, "failed": self.failed, "spent": spent})

"""What steps run in when they run in an Airflow task: settings, connections, variables, the task's log and its state store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.log import mask_secret

from airflow_llm_provider.config.settings import load_settings
from airflow_llm_provider.engine.approval import Ask, nobody
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.hooks.checkpoint import task_checkpoint
from airflow_llm_provider.hooks.llm import task_connection, task_credentials
from airflow_llm_provider.workflow.model import Step

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["task_runtime"]


PROGRESS_XCOM = "progress"
"""XCom with how far the fan-out of a running task has come."""


class LogObserver(Observer):
    """Writes what happens to the task's log.

    Args:
        log: The task's logger.
        ti: The task instance, in whose XCom ``progress`` the UI shows how far the task has come.
    """

    def __init__(self, log: Any, ti: Any = None) -> None:
        self._log = log
        self._ti = ti

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        """Log a failed try."""
        self._log.warning("Try %d of step %s failed, next in %.1f s: %s", attempt, step.id, wait, error)

    def step_logged(self, step: Step, message: str) -> None:
        """Log the step's own line."""
        self._log.info("%s", message)

    def step_progressed(self, step: Step, done: int, failed: int, total: int) -> None:
        """Log how far a fan-out has come, and show it."""
        self._log.info("Step %s: %d of %d items done, %d of them failed", step.id, done, total, failed)
        if self._ti is not None:
            self._ti.xcom_push(PROGRESS_XCOM, {"step": step.id, "done": done, "failed": failed, "total": total})

    def step_finished(self, step: Step, result: StepResult) -> None:
        """Log what the step cost."""
        if result.usage is not None:
            self._log.info("Usage of step %s: %s", step.id, result.usage.to_dict())


def _secret(key: str) -> str | None:
    """Read ``secrets.<key>`` from Airflow's secrets backends, and keep it out of the logs."""
    try:
        value: str = Variable.get(key)
    except (KeyError, AirflowRuntimeError):
        return None
    mask_secret(value)
    return value


def task_runtime(log: Any, context: Context | None = None, *, is_resumed: bool = False, ask: Ask = nobody) -> Runtime:
    """Give the runtime of a task.

    Args:
        log: The task's logger.
        context: Airflow's context, where steps are run and what they pay for is to be kept.
        is_resumed: Whether the task has run before in this try, and waited for something.
        ask: Asks a person.
    """
    runtime = Runtime(
        settings=load_settings(_config_file()),
        secret=_secret,
        observer=LogObserver(log, context and context["ti"]),
        ask=ask,
    )
    runtime.checkpoint = None if context is None else task_checkpoint(context, runtime, is_resumed=is_resumed)
    runtime.find_credentials = partial(task_credentials, runtime)
    runtime.find_connection = task_connection
    return runtime


def _config_file() -> str | None:
    from airflow.sdk.configuration import conf

    found: str | None = conf.get("llm_provider", "config_file", fallback=None)
    return found or None

"""The key ``airflow``: what only Airflow needs to know, on a workflow and on each step."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_llm_provider.workflow.durations import parse_duration

__all__ = ["AirflowStep", "AirflowTask", "AirflowWorkflow"]

TriggerRule = Literal[
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_skipped", "none_failed_min_one_success", "all_skipped", "always",
]  # fmt: skip


class AirflowTask(BaseModel):
    """What can be said of one task, or of all tasks of a DAG; names and meanings are those of Airflow's ``BaseOperator``.

    Attributes:
        owner: Who answers for the task.
        pool: Pool that limits how many such tasks run at once.
        queue: Worker queue.
        priority_weight: Tasks with a higher weight are scheduled first.
        executor: Airflow executor, where more than one is configured.
        retries: Runs of the whole task after it failed, besides the step's own tries.
        retry_delay: Time between those, in seconds or with a unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    owner: str | None = None
    pool: str | None = None
    queue: str | None = None
    priority_weight: int | None = None
    executor: str | None = None
    retries: int | None = Field(default=None, ge=0)
    retry_delay: Annotated[float, BeforeValidator(parse_duration)] | None = None

    def task_settings(self) -> dict[str, Any]:
        """Give the keys that were set and belong to a task, as plain values."""
        return self.model_dump(exclude_none=True, include={*AirflowTask.model_fields})


class AirflowStep(AirflowTask):
    """Settings of one step's task.

    Attributes:
        pool_slots: Slots the task takes in its pool.
        trigger_rule: When the task runs, given the states of those before it.
    """

    pool_slots: int | None = Field(default=None, ge=1)
    trigger_rule: TriggerRule | None = None

    def task_settings(self) -> dict[str, Any]:
        """Give the keys that were set, as plain values."""
        return self.model_dump(exclude_none=True)


class AirflowWorkflow(AirflowTask):
    """Settings of a DAG; those of :class:`AirflowTask` hold for all its tasks.

    Attributes:
        schedule: Cron expression or preset; none means started by hand or by API.
        timezone: Zone that the schedule is read in.
        start_date: First day that the schedule covers.
        catchup: Whether missed runs are made up for.
        tags: Labels in the DAG list.
        max_active_runs: Most runs at once.
    """

    schedule: str | None = None
    timezone: str = "UTC"
    start_date: date | datetime | None = None
    catchup: bool = False
    tags: list[str] = Field(default_factory=list)
    max_active_runs: int | None = Field(default=None, ge=1)

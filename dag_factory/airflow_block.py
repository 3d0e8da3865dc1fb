"""The key ``airflow``: what only Airflow needs to know, on a workflow and on each step."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from dag_factory.models import Delay, Model, Moment
from dag_factory.pods import Pod

__all__ = ["AirflowStep", "AirflowTask", "AirflowWorkflow", "Schedule", "Timezone"]

TriggerRule = Literal[
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_skipped", "none_failed_min_one_success", "all_skipped", "always",
]  # fmt: skip

Lane = Literal["inline", "mapped", "batch"]


PRESETS = frozenset(
    {"@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually"}
)
"""Airflow's names for schedules."""


def _schedule(value: str) -> str:
    if value in PRESETS:
        return value
    from croniter import croniter

    if value.startswith("@"):
        raise ValueError(f"{value!r} is no preset of Airflow; known are {', '.join(sorted(PRESETS))}")
    if not croniter.is_valid(value):
        raise ValueError(f"{value!r} is no cron expression; write five fields such as '0 6 * * 1-5', or {'@daily'!r}")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"{value!r} is no time zone; write a name such as Europe/Berlin or UTC") from None
    return value


Schedule = Annotated[str, AfterValidator(_schedule)]
"""A cron expression, or one of Airflow's presets."""

Timezone = Annotated[str, AfterValidator(_timezone)]
"""The name of a time zone."""

Tag = Annotated[str, Field(min_length=1, max_length=100)]


class AirflowTask(Model):
    """What can be said of one task, or of all tasks of a DAG; names and meanings are those of Airflow's ``BaseOperator``.

    Attributes:
        owner: Who answers for the task.
        pool: Pool that limits how many such tasks run at once.
        queue: Worker queue.
        priority_weight: Tasks with a higher weight are scheduled first.
        executor: Airflow executor, where more than one is configured.
        retries: Runs of the whole task after it failed, besides the step's own tries.
        retry_delay: Time between those, in seconds or with a unit.
        pod: The pod that the Kubernetes executor runs the task in; a step's keys win over those of its workflow.
    """

    owner: str | None = None
    pool: str | None = None
    queue: str | None = None
    priority_weight: int | None = None
    executor: str | None = None
    retries: int | None = Field(default=None, ge=0)
    retry_delay: Delay | None = None
    pod: Pod | None = None

    def task_settings(self) -> dict[str, Any]:
        """Give the keys that were set and belong to a task, as plain values."""
        return self.model_dump(exclude_unset=True, exclude_none=True, include={*AirflowTask.model_fields})


class AirflowStep(AirflowTask):
    """Settings of one step's task.

    Attributes:
        pool_slots: Slots the task takes in its pool.
        trigger_rule: When the task runs, given the states of those before it.
        lane: How the items of a fan-out run: in the step's own task (``inline``, which is meant when absent), or as tasks of
            their own (``mapped``), or as batches of the provider's (``batch``).
    """

    pool_slots: int | None = Field(default=None, ge=1)
    trigger_rule: TriggerRule | None = None
    lane: Lane | None = None

    def task_settings(self) -> dict[str, Any]:
        """Give the keys that were set, ``lane`` included, as plain values."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class AirflowWorkflow(AirflowTask):
    """Settings of a DAG; those of :class:`AirflowTask` hold for all its tasks.

    Attributes:
        schedule: Cron expression or preset; none means started by hand or by API.
        timezone: Zone that the schedule is read in.
        start_date: First moment that the schedule covers; a time without a zone is in ``timezone``.
        catchup: Whether missed runs are made up for.
        tags: Labels in the DAG list.
        max_active_runs: Most runs at once.
        granularity: Whether each step is a task, or the whole workflow is one.
    """

    schedule: Schedule | None = None
    timezone: Timezone = "UTC"
    start_date: Moment | None = None
    catchup: bool = False
    tags: list[Tag] = Field(default_factory=list)
    max_active_runs: int | None = Field(default=None, ge=1)
    granularity: Literal["task", "workflow"] = "task"

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.schedule == "@continuous" and self.max_active_runs != 1:
            raise ValueError("schedule '@continuous' needs 'max_active_runs: 1'")
        return self

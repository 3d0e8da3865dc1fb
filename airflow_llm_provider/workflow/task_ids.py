"""Ids of the tasks that a workflow has in Airflow besides those of its steps; no step may take one of them."""

from __future__ import annotations

__all__ = ["ENDING_TASK", "EVENT_TASK", "OUTPUTS_TASK", "mapped_task_ids"]

OUTPUTS_TASK = "workflow_outputs"
"""Computes the workflow's declared outputs, or is the whole workflow."""

ENDING_TASK = "workflow_events"
"""Does what the workflow has for the end of a run."""

EVENT_TASK = "workflow_event"
"""Starts a run for each event that arrived."""


def mapped_task_ids(task_id: str) -> tuple[str, str]:
    """Give the ids of the tasks that a fan-out has besides its own when its items are tasks.

    Args:
        task_id: The id of its own.

    Returns:
        The task that gives the items, and the one that is mapped over them.
    """
    return f"{task_id}.items", f"{task_id}.item"

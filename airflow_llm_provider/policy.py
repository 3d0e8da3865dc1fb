"""Cluster policies: Airflow's Code tab shows the workflow file instead of its loader, and a queue of an edge site leads there.

Every Airflow process imports this module at start, so it imports nothing else.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.policies import hookimpl

__all__ = ["WORKFLOW_FILE", "dag_policy", "task_policy"]

WORKFLOW_FILE = "workflow_file"
"""Attribute of a DAG with the path of the workflow file it was made from."""


@hookimpl
def dag_policy(dag: Any) -> None:
    """Point a DAG's source at its workflow file.

    Only ``fileloc``, which the Code tab reads, changes; ``relative_fileloc``, by which the workers find the DAG, stays the loader.
    """
    path = getattr(dag, WORKFLOW_FILE, None)
    if path is not None:
        dag.fileloc = path


@hookimpl
def task_policy(task: Any) -> None:
    """Give a task whose queue is of an edge site to the executor that reaches it, unless the task names another.

    Airflow goes by the executor alone: without it, the task would wait in a queue that nobody at the centre reads.
    """
    queues = os.environ.get("ORCHESTRATOR_EDGE_QUEUES", "")
    if task.executor is None and task.queue in queues.split(","):
        # A mapped one hands it on to the tasks that are made of it.
        handed_on: dict[str, Any] | None = getattr(task, "partial_kwargs", None)
        if handed_on is not None:
            handed_on["executor"] = "EdgeExecutor"
        else:
            task.executor = "EdgeExecutor"

"""A cluster policy for DAGs made from workflow files: Airflow's Code tab shows the workflow file instead of the loader.

Every Airflow process imports this module at start, so it imports nothing else.
"""

from __future__ import annotations

from typing import Any

from airflow.policies import hookimpl

__all__ = ["WORKFLOW_FILE", "dag_policy"]

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

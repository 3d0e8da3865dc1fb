"""Workflow files in, Airflow DAGs out.

The stages, each a function from value to value, in the order in which to read them:

1. :mod:`airflow_llm_provider.files`: a file's text becomes plain data that remembers lines and columns;
2. :mod:`dag_factory.notations`: data in one of the notations becomes a canonical
   :class:`~airflow_llm_provider.workflow.model.Workflow`;
3. :mod:`dag_factory.checks`: what can be wrong in a workflow whatever its notation;
4. :mod:`dag_factory.compile`: a workflow becomes an Airflow DAG;
5. :mod:`dag_factory.loader`: all of it for the files of a folder, for ``dags/load_workflows.py`` and its twin.

Beside them, :mod:`dag_factory.authoring` helps those who write the files.

Only the last two stages import Airflow. What goes wrong in the others is a
:class:`~airflow_llm_provider.files.diagnostics.Diagnostic`, and all of a file's are given at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_llm_provider.files.diagnostics import Diagnostic
from dag_factory.read import ReadResult, read_file, read_folder, read_text

if TYPE_CHECKING:
    from dag_factory.loader import WorkflowErrors, load_dags, raise_errors

__all__ = [
    "Diagnostic",
    "ReadResult",
    "WorkflowErrors",
    "load_dags",
    "raise_errors",
    "read_file",
    "read_folder",
    "read_text",
]


def __getattr__(name: str) -> Any:
    # Reading workflows must not cost an import of Airflow.
    if name in ("WorkflowErrors", "load_dags", "raise_errors"):
        import dag_factory.loader

        return getattr(dag_factory.loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

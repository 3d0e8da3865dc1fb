"""The dags folder's side: DAGs for the healthy workflows, and one import error that names everything wrong in the others.

``dags/load_workflows.py`` calls :func:`load_dags` and ``dags/workflow_errors.py`` calls :func:`raise_errors`. They are two files
because Airflow keeps the DAGs of a file only while that file imports: the first must never fail, the second exists to fail.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from airflow.sdk import DAG, get_parsing_context

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.workflow.model import Workflow, slug
from dag_factory.compile import to_dag
from dag_factory.read import diagnostic, find_files, read_file, read_folder

__all__ = ["WorkflowErrors", "load_dags", "raise_errors"]


class WorkflowErrors(Exception):
    """Everything that is wrong with the workflow files of a folder."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.diagnostics = diagnostics
        files = len({item.path for item in diagnostics})
        count = f"{len(diagnostics)} error{'s' * (len(diagnostics) > 1)} in {files} workflow file{'s' * (files > 1)}"
        super().__init__("\n\n".join([f"{count}:", *(item.excerpt() for item in diagnostics)]))


def load_dags(folder: str | os.PathLike[str]) -> dict[str, DAG]:
    """Make a DAG of every healthy workflow in a folder and the folders in it.

    A task's process needs one DAG only, and Airflow says which: then only the files that may define it are read.

    Args:
        folder: The folder with the workflow files.

    Returns:
        DAG id to DAG; put it into the module's globals, where Airflow looks for DAGs.
    """
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        for path in _likeliest_first(wanted, folder):
            for workflow in read_file(path, library=folder).workflows:
                if workflow.dag_id == wanted and not workflow.is_template:
                    return {wanted: to_dag(workflow)}
        return {}
    with _without_garbage_collection():
        return _compile(read_folder(folder).workflows)[0]


def raise_errors(folder: str | os.PathLike[str]) -> None:
    """Raise all errors of a folder's workflow files as one, which Airflow shows as an import error.

    Args:
        folder: The folder with the workflow files.

    Raises:
        WorkflowErrors: A file has errors.
        FileNotFoundError: There is no such folder.
    """
    if get_parsing_context().dag_id is not None:
        return
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(folder)!r} to read workflows from")
    result = read_folder(folder)
    errors = result.errors + _compile(result.workflows)[1]
    if errors:
        raise WorkflowErrors(errors)


def _compile(workflows: Iterable[Workflow]) -> tuple[dict[str, DAG], tuple[Diagnostic, ...]]:
    """Make the DAGs; what Airflow refuses to build is that workflow's error, and not the end of all others."""
    dags: dict[str, DAG] = {}
    errors: list[Diagnostic] = []
    for workflow in (workflow for workflow in workflows if not workflow.is_template):
        try:
            dag = to_dag(workflow)
            _check_executors(dag)
            dags[workflow.dag_id] = dag
        except ConfigurationError as error:
            place = (*workflow.trigger.location, "eventSource") if workflow.trigger else workflow.location
            errors.append(diagnostic(workflow, str(error), place))
        except Exception as error:
            reason = f"Airflow cannot make a DAG of {workflow.name!r}: {type(error).__name__}: {error}"
            place = (*workflow.location, "airflow")
            errors.append(diagnostic(workflow, reason, place, suggestion="look at its 'airflow' settings"))
    return dags, tuple(errors)


def _check_executors(dag: DAG) -> None:
    """Refuse a DAG that asks for an executor which is not configured, as Airflow does later, in the name of the loader's file."""
    names = {task.executor for task in dag.tasks if task.executor}
    if names:
        from airflow.executors.executor_loader import ExecutorLoader

        for name in names:
            ExecutorLoader.lookup_executor_name_by_str(name, validate_teams=False)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the collector walking over a growing heap of DAGs that all stay; it takes a third of the time of 1000 files."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _likeliest_first(dag_id: str, folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give all files, those that hold every word of a DAG id first.

    A DAG id is a workflow's name with runs of other characters replaced by ``-``, so the file must hold its words.
    """
    words = [word.encode() for word in re.findall(r"[A-Za-z0-9_.]+", slug(dag_id))]
    others = []
    for path in find_files(folder):
        if _holds(path, words):
            yield path
        else:
            others.append(path)
    # A name that is written with YAML escapes holds the words only once it is parsed.
    yield from others


def _holds(path: Path, words: list[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(word in content for word in words)

"""From a file to workflows and diagnostics: one pure function, and its use on files and folders.

Whatever reads workflow files goes through here: ``llm-orchestrator``, the dags folder's loader, and its twin that reports errors.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_llm_provider.workflow.model import DocumentPath, Workflow
from dag_factory.checks import check
from dag_factory.diagnostics import Diagnostic
from dag_factory.documents import Document, decode, parse
from dag_factory.notations import NOTATIONS
from dag_factory.problems import Problems

__all__ = ["ReadResult", "diagnostic", "find_files", "read_file", "read_files", "read_folder", "read_text"]

SUFFIXES = (".yaml", ".yml", ".json")
IGNORE_FILE = ".airflowignore"
SAMPLE_SUFFIX = ".input.json"
"""``x.yaml`` may have a sample input beside it, ``x.input.json``, which is no workflow."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What reading gives.

    Attributes:
        workflows: The workflows that can run.
        diagnostics: What is wrong, errors and warnings, in the order of the files.
    """

    workflows: tuple[Workflow, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that keep a workflow from running."""
        return tuple(item for item in self.diagnostics if item.severity == "error")


def read_text(path: str, text: str) -> ReadResult:
    """Read every workflow in a text.

    Args:
        path: Name of the file, for messages.
        text: YAML or JSON.

    Returns:
        The workflows that can run, and all that is wrong.
    """
    parsed = parse(path, text)
    workflows: list[Workflow] = []
    diagnostics = list(parsed.errors)
    for document in parsed.documents:
        workflow, found = _read_document(document)
        diagnostics += found
        if workflow is not None:
            workflows.append(workflow)
    return _without_duplicates([(workflows, diagnostics)])


def read_file(path: str | os.PathLike[str]) -> ReadResult:
    """Read every workflow in a file.

    Args:
        path: The file.
    """
    name = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return ReadResult((), (Diagnostic(name, 1, 1, f"cannot be read: {error.strerror}"),))
    text, errors = decode(name, content)
    return ReadResult((), errors) if errors else read_text(name, text)


def find_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Walk over the workflow files of a folder and the folders in it, by name.

    Links are followed. Left out are hidden ones, sample inputs (``x.input.json``), and what an ``.airflowignore`` names.

    Args:
        folder: The folder.
    """
    rules: dict[str, tuple[_Ignored, ...]] = {}
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        # A link may lead back to where the walk has been.
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        ignored = rules.get(os.path.dirname(parent), ()) + ((_ignored(parent),) if IGNORE_FILE in files else ())
        rules[parent] = ignored
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__")) and not any(rule(f"{parent}/{name}/") for rule in ignored)
        )
        for name in sorted(files):
            if not name.endswith(SUFFIXES) or name.startswith(".") or name.endswith(SAMPLE_SUFFIX):
                continue
            if not any(rule(f"{parent}/{name}") for rule in ignored):
                yield Path(parent, name)


_Ignored = Callable[[str], bool]


def _ignored(folder: str) -> _Ignored:
    """Read the ``.airflowignore`` of a folder, in Airflow's default syntax, which is that of ``.gitignore``.

    Airflow itself tells of a line that cannot be read; it must not keep the folder's workflows from running.
    """
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec([])
    with contextlib.suppress(OSError):
        for line in Path(folder, IGNORE_FILE).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, re.error):
                spec += GitIgnoreSpec.from_lines([line])
    return lambda path: spec.match_file(path[len(folder) + 1 :])


def read_files(paths: Iterable[str | os.PathLike[str]]) -> ReadResult:
    """Read several workflow files that will be used together.

    Args:
        paths: The files.

    Returns:
        All workflows and diagnostics. Of two workflows with one name the first runs, and the other is an error.
    """
    results = (read_file(path) for path in paths)
    return _without_duplicates((result.workflows, result.diagnostics) for result in results)


def read_folder(folder: str | os.PathLike[str]) -> ReadResult:
    """Read every workflow file of a folder and the folders in it, as :func:`read_files` does.

    Args:
        folder: The folder.
    """
    return read_files(find_files(folder))


def _read_document(document: Document) -> tuple[Workflow | None, list[Diagnostic]]:
    problems = Problems(document)
    if not isinstance(document.data, dict):
        problems.error(
            "a workflow is a mapping", (), suggestion="begin with 'name:' and 'steps:', or with 'apiVersion:'"
        )
        return None, problems.found
    notation = next(notation for notation in NOTATIONS if notation.reads(document.data))
    workflow = notation.read(document, problems)
    if workflow is not None:
        workflow = check(workflow, problems)
    found = sorted(problems.found, key=lambda item: (item.line, item.column))
    return (None if problems.fatal else workflow), found


def _without_duplicates(parts: Iterable[tuple[Iterable[Workflow], Iterable[Diagnostic]]]) -> ReadResult:
    kept: dict[str, Workflow] = {}
    diagnostics: list[Diagnostic] = []
    for workflows, found in parts:
        diagnostics += found
        for workflow in workflows:
            first = kept.setdefault(workflow.dag_id, workflow)
            if first is not workflow:
                diagnostics.append(_duplicate(workflow, first))
    return ReadResult(tuple(kept.values()), tuple(diagnostics))


def _duplicate(workflow: Workflow, first: Workflow) -> Diagnostic:
    path = ("metadata", "name") if workflow.source.notation == "v1" else ("name",)
    return diagnostic(
        workflow,
        f"the name {workflow.name!r} is taken by {first.source.path}",
        path,
        suggestion="give each workflow a name of its own",
    )


def diagnostic(workflow: Workflow, message: str, path: DocumentPath, *, suggestion: str = "") -> Diagnostic:
    """Say what is wrong with a workflow that could be read.

    Args:
        workflow: The workflow.
        message: What is wrong.
        path: The way to the place in its document.
        suggestion: What to do.
    """
    source = workflow.source
    document = next(item for item in parse(source.path or "", source.text).documents if item.index == source.document)
    return document.diagnostic(message, path, suggestion=suggestion)

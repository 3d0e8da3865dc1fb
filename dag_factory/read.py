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

from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import Document, decode, parse
from airflow_llm_provider.files.problems import Problems
from airflow_llm_provider.workflow.model import DocumentPath, Workflow
from dag_factory.checks import check
from dag_factory.linking import link, links
from dag_factory.notations import NOTATIONS

__all__ = ["ReadResult", "diagnostic", "find_files", "read_file", "read_files", "read_folder", "read_text"]

SUFFIXES = (".yaml", ".yml", ".json")
IGNORE_FILE = ".airflowignore"
BESIDE_SUFFIXES = (".input.json", ".schema.json", ".test.yaml", ".test.yml")
"""What may stand beside ``x.yaml`` and is no workflow: a sample input, a schema, test cases."""


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
    return _joined([_read_documents(path, text)])


def read_file(path: str | os.PathLike[str], *, library: str | os.PathLike[str] | None = None) -> ReadResult:
    """Read every workflow in a file.

    Args:
        path: The file.
        library: The folder with the workflows that this one may name; its own folder when None.
    """
    return _joined([_read_alone(path)], library)


def find_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Walk over the workflow files of a folder and the folders in it, by name.

    Links are followed. Left out are hidden ones, what stands beside workflows (:data:`BESIDE_SUFFIXES`), and what an
    ``.airflowignore`` names.

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
            if not name.endswith(SUFFIXES) or name.startswith(".") or name.endswith(BESIDE_SUFFIXES):
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
    return _joined(_read_alone(path) for path in paths)


def read_folder(folder: str | os.PathLike[str]) -> ReadResult:
    """Read every workflow file of a folder and the folders in it, as :func:`read_files` does.

    Args:
        folder: The folder.
    """
    return read_files(find_files(folder))


_Read = tuple[list[Workflow], list[Diagnostic]]
"""What a file holds, before it is joined with others."""


def _read_alone(path: str | os.PathLike[str]) -> _Read:
    name = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return [], [Diagnostic(name, 1, 1, f"cannot be read: {error.strerror}")]
    text, errors = decode(name, content)
    return ([], [*errors]) if errors else _read_documents(name, text)


def _read_documents(path: str, text: str) -> _Read:
    parsed = parse(path, text)
    workflows: list[Workflow] = []
    diagnostics = [*parsed.errors]
    for document in parsed.documents:
        workflow, found = _read_document(document)
        diagnostics += found
        if workflow is not None:
            workflows.append(workflow)
    return workflows, diagnostics


def _read_document(document: Document) -> tuple[Workflow | None, list[Diagnostic]]:
    problems = Problems(document)
    problems.found += document.leaks
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


def _joined(parts: Iterable[_Read], folder: str | os.PathLike[str] | None = None) -> ReadResult:
    """Join what several files hold: each name once, and what they name of each other looked up."""
    kept: dict[str, Workflow] = {}
    diagnostics: list[Diagnostic] = []
    for workflows, found in parts:
        diagnostics += found
        for workflow in workflows:
            first = kept.setdefault(workflow.dag_id, workflow)
            if first is not workflow:
                diagnostics.append(_duplicate(workflow, first))
    library = _Library(kept.values(), folder)
    joined: list[Workflow] = []
    for workflow in kept.values():
        linked, errors = (
            link(workflow, library.find, library.names(), _report) if any(links(workflow)) else (workflow, [])
        )
        diagnostics += errors
        if linked is not None:
            joined.append(linked)
    return ReadResult(tuple(joined), tuple(diagnostics))


class _Library:
    """The workflows that others may name: those that are read with them, and those of a folder or beside these."""

    def __init__(self, workflows: Iterable[Workflow], folder: str | os.PathLike[str] | None) -> None:
        self._by_name = {workflow.name: workflow for workflow in workflows}
        paths = (workflow.source.path for workflow in self._by_name.values())
        self._read = {os.path.realpath(path) for path in paths if path and os.path.exists(path)}
        beside = dict.fromkeys(os.path.dirname(path) for path in sorted(self._read))
        self._folders = dict.fromkeys([os.fspath(folder)]) if folder is not None else beside

    def names(self) -> list[str]:
        """Give all names that are known so far."""
        return [*self._by_name]

    def find(self, name: str) -> Workflow | None:
        """Give the workflow of that name."""
        while name not in self._by_name and self._folders:
            self._read_beside(self._folders.popitem()[0])
        return self._by_name.get(name)

    def _read_beside(self, folder: str) -> None:
        for path in find_files(folder):
            if os.path.realpath(path) not in self._read:
                for workflow in _read_alone(path)[0]:
                    self._by_name.setdefault(workflow.name, workflow)


def _report(workflow: Workflow, message: str, path: DocumentPath, suggestion: str) -> Diagnostic:
    return diagnostic(workflow, message, path, suggestion=suggestion)


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
    for document in parse(source.path or "", source.text).documents:
        if document.index == source.document:
            return document.diagnostic(message, path, suggestion=suggestion)
    # A file whose secrets are hidden need not be YAML any more.
    return Diagnostic(source.path or "", 1, 1, message, suggestion)

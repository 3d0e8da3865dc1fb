"""Collects what is wrong with ``orchestrator.yaml``: at the key in the file, or at the variable that the value is from.

Which parts of the file are secret is known for sure only when all of it is read, so nothing is shown before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import Document
from airflow_llm_provider.files.problems import Problems
from airflow_llm_provider.workflow.model import DocumentPath

__all__ = ["ConfigurationProblems"]


class ConfigurationProblems(Problems):
    """What is wrong with one configuration.

    Args:
        document: The file.

    Attributes:
        places: Way in the model to the way in the file.
        variables: Way in the model to the variable that says it.
        left_out: Ways in the model to what was left out because of an error.
        root: The way to what the file says.
    """

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.places: dict[DocumentPath, DocumentPath] = {}
        self.variables: dict[DocumentPath, str] = {}
        self.left_out: set[DocumentPath] = set()
        self.root: DocumentPath = ()
        self._wrong: set[DocumentPath] = set()
        self._hidden: set[DocumentPath] = set()
        self._secrets: set[str] = set()

    def hide(self, place: DocumentPath | None, secrets: Iterable[str]) -> None:
        """Keep what is shown free of secrets.

        Args:
            place: Where the file has them; None if it does not have them.
            secrets: What they are.
        """
        if place is not None:
            self._hidden.add(place)
        self._secrets.update(secrets)

    def shown(self) -> tuple[Diagnostic, ...]:
        """Give what is wrong, without secrets."""
        if self.found:
            self._document.hide(self._hidden, self._secrets)
        lines = self._document.lines
        return tuple(
            replace(
                problem,
                message=lines.without_secrets(problem.message),
                suggestion=lines.without_secrets(problem.suggestion),
                text=lines[problem.line - 1] if problem.line else "",
            )
            for problem in self.found
        )

    def concern(self, *keys: str) -> bool:
        """Tell whether something is wrong with one of some dotted keys, with what is in it, or with what it is in."""
        asked = [tuple(key.split(".")) for key in keys]
        return any(
            wrong[: len(key)] == key[: len(wrong)] for key in asked for wrong in self._wrong | self.left_out if wrong
        )

    def error(
        self, message: str, path: DocumentPath, *, suggestion: str = "", at_key: bool = False, offset: int | None = None
    ) -> None:
        """Add an error; the path is that of the model or, as long as the file is read, of the document."""
        self._wrong.add(path)
        if (name := self._variable(path)) is not None:
            self.variable(name, message, suggestion)
            return
        super().error(message, self._in_file(path), suggestion=suggestion, at_key=at_key, offset=offset)

    def warning(
        self, message: str, path: DocumentPath, *, suggestion: str = "", offset: int | None = None, at_key: bool = False
    ) -> None:
        """Add a warning; the path is that of the model or, as long as the file is read, of the document."""
        if (name := self._variable(path)) is not None:
            self.variable(name, message, suggestion, severity="warning")
            return
        super().warning(message, self._in_file(path), suggestion=suggestion, offset=offset, at_key=at_key)

    def variable(
        self, name: str, message: str, suggestion: str = "", severity: Literal["error", "warning"] = "error"
    ) -> None:
        """Add what is wrong in a variable."""
        self.found.append(Diagnostic(f"${name}", 0, 0, message, suggestion, severity))

    def _variable(self, path: DocumentPath) -> str | None:
        """Give the variable that says what is at a place or around it, else one that says a part of it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.variables:
                return self.variables[path[:length]]
            if path[:length] in self.places:
                break
        return next((name for key, name in self.variables.items() if path and key[:-1] == path), None)

    def _in_file(self, path: DocumentPath) -> DocumentPath:
        above = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.places), None)
        if above is not None:
            return (*self.places[above], *path[len(above) :])
        return path if path[: len(self.root)] == self.root else (*self.root, *path)

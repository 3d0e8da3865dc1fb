"""A file's text as plain data, and the way back from a place in the data to a line and a column.

YAML is read by the YAML 1.2 core rules, as LLM-Orchestrator reads it: ``no`` and ``on`` are texts, dates stay texts, and a key
given twice is an error. JSON is YAML. Places are found only when something is wrong: the file is then composed a second time, as
a tree of nodes with marks, which would cost ten times the plain reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import yaml

from airflow_llm_provider.workflow.model import DocumentPath
from dag_factory.diagnostics import Diagnostic

__all__ = ["MAX_BYTES", "Document", "Documents", "decode", "parse"]

MAX_BYTES = 10 * 1024 * 1024
"""Most bytes of one file."""

MAX_DEPTH = 100
"""Deepest nesting of one document."""

MAX_NODES = 1_000_000
"""Most values of one document once its aliases are expanded."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _WorkflowLoader(_Loader):  # type: ignore[misc]  # which of the two loaders is known at run time
    """The C loader with YAML 1.2's core types."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        # flatten_mapping has replaced `<<` by the merged keys, and puts them first: a key of the file may override one.
        if len(mapping) != len(node.value):
            _refuse_duplicates(node)
        return mapping


_WorkflowLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
):
    _WorkflowLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


class _DuplicateKeyError(yaml.MarkedYAMLError):
    """A mapping names a key twice."""


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in reversed(node.value):
        later = seen.setdefault(key.value, key)
        # Of a merged key and the file's own, only the own one starts behind the mapping's start.
        if later is not key and key.start_mark.index >= node.start_mark.index:
            raise _DuplicateKeyError(
                problem=f"key {key.value!r} is given twice; first in line {key.start_mark.line + 1}",
                problem_mark=later.start_mark,
            )


@dataclass(frozen=True)
class Document:
    """One document of a file.

    Attributes:
        path: The file, as it was named to the reader.
        text: The whole file.
        index: Which document of the file, counted from 0.
        data: The document as plain data.
    """

    path: str
    text: str
    index: int
    data: Any

    @cached_property
    def _node(self) -> yaml.Node | None:
        for index, node in enumerate(yaml.compose_all(self.text, Loader=_Loader)):
            if index == self.index:
                return node
        return None  # pragma: no cover - the text was parsed before

    def diagnostic(
        self,
        message: str,
        path: DocumentPath,
        *,
        suggestion: str = "",
        at_key: bool = False,
        offset: int | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> Diagnostic:
        """Say what is wrong at a place of this document.

        Args:
            message: What is wrong.
            path: The way to the value; the nearest existing value above it when it does not exist.
            suggestion: What to do.
            at_key: Whether the key is wrong, and not its value.
            offset: Where in the value's text, in characters.
            severity: Whether the workflow can still run.
        """
        line, column = self._place(path, at_key=at_key, offset=offset)
        lines = self.text.splitlines()
        text = lines[line].rstrip() if line < len(lines) else ""
        return Diagnostic(self.path, line + 1, column + 1, message, suggestion, severity, text)

    def _place(self, path: DocumentPath, *, at_key: bool, offset: int | None) -> tuple[int, int]:
        node, mark = self._node, None
        if node is None:
            return 0, 0
        mark = node.start_mark
        for part in path:
            key, child = _member(node, part)
            if child is None:
                break
            node = child
            mark = key.start_mark if key is not None and at_key else child.start_mark
        if offset is not None and isinstance(node, yaml.ScalarNode):
            return self._place_in_scalar(node, offset)
        return mark.line, mark.column

    def _place_in_scalar(self, node: yaml.ScalarNode, offset: int) -> tuple[int, int]:
        before = node.value[:offset]
        wanted = node.value.split("\n")[before.count("\n")]
        column = len(before) - (before.rfind("\n") + 1)
        lines = self.text.splitlines()
        skip = before.count("\n")
        # The value's lines stand in the file in their order, only indented or quoted.
        for number in range(node.start_mark.line + skip, min(node.end_mark.line + 1, len(lines))):
            found = lines[number].find(wanted, node.start_mark.column if number == node.start_mark.line else 0)
            if wanted and found >= 0:
                return number, found + column
        return node.start_mark.line, node.start_mark.column


def _member(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return None, node.value[part]
    return None, None


@dataclass(frozen=True, slots=True)
class Documents:
    """What parsing a text gives.

    Attributes:
        documents: The documents that could be read.
        errors: Why the rest could not.
    """

    documents: tuple[Document, ...] = ()
    errors: tuple[Diagnostic, ...] = ()


def decode(path: str, content: bytes) -> tuple[str, tuple[Diagnostic, ...]]:
    """Turn a file's bytes into text.

    Args:
        path: The file, as it was named to the reader.
        content: The bytes.

    Returns:
        The text and no error, or an empty text and the error.
    """

    def refuse(message: str, suggestion: str, line: int = 1) -> tuple[str, tuple[Diagnostic, ...]]:
        return "", (Diagnostic(path, line, 1, message, suggestion),)

    if len(content) > MAX_BYTES:
        return refuse(f"the file has {len(content):,} bytes; at most {MAX_BYTES:,} are read", "split it")
    if b"\0" in content:
        return refuse("this is a binary file, not YAML", "take it out of the folder, or save it as UTF-8 text")
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return refuse(f"byte {content[error.start]:#04x} is not UTF-8", "save the file as UTF-8", line)


def parse(path: str, text: str) -> Documents:
    """Read a text's documents.

    Args:
        path: The file, as it was named to the reader.
        text: YAML or JSON.

    Returns:
        The documents, empty ones left out, and the errors. A text that breaks off in its third document gives the first two.
    """
    loader = _WorkflowLoader(text)
    documents: list[Document] = []
    index = 0
    try:
        while loader.check_data():
            data = loader.get_data()
            if data is not None:
                documents.append(Document(path, text, index, data))
                _refuse_size(data)
            index += 1
    except yaml.MarkedYAMLError as error:
        return Documents(tuple(documents), (_syntax_error(path, text, error),))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "the document nests too deeply" if isinstance(error, RecursionError) else str(error)
        return Documents((), (Diagnostic(path, 1, 1, reason),))
    finally:
        loader.dispose()
    if not documents:
        return Documents(
            (), (Diagnostic(path, 1, 1, "the file is empty", "write a workflow, or take it out of the folder"),)
        )
    return Documents(tuple(documents))


def _syntax_error(path: str, text: str, error: yaml.MarkedYAMLError) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    problem = error.problem or "not YAML"
    message = problem if isinstance(error, _DuplicateKeyError) else f"not YAML: {problem}"
    if error.context:
        message = f"{message} {error.context}"
    return Diagnostic(path, line + 1, column + 1, message, text=lines[line].rstrip() if line < len(lines) else "")


def _refuse_size(data: Any) -> None:
    """Refuse what grows without bound once aliases are followed: a few lines of YAML can stand for billions of values."""
    level, seen = [data], 0
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, Mapping) else value)
        ]
        if not level:
            return
        seen += len(level)
        if seen > MAX_NODES:
            raise ValueError(f"the document holds more than {MAX_NODES:,} values once its aliases are expanded")
    raise ValueError(f"the document nests more than {MAX_DEPTH} levels deep")

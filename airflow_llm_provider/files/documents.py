"""A file's text as plain data, and the way back from a place in the data to a line and a column.

YAML is read by the YAML 1.2 core rules, as LLM-Orchestrator reads it: ``no`` and ``on`` are texts, dates stay texts, and a key
given twice is an error. JSON is YAML. Places are found only when something is wrong: the file is then composed a second time, as
a tree of nodes with marks, which would cost ten times the plain reading.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import yaml

from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.plaintext import (
    HIDDEN,
    Secret,
    find_secrets,
    find_shapes,
    lines_to_hide,
    may_hold_secrets,
)
from airflow_llm_provider.workflow.model import DocumentPath, Source

__all__ = ["MAX_BYTES", "Document", "Documents", "add_implicit_resolvers", "decode", "parse"]

MAX_BYTES = 10 * 1024 * 1024
"""Most bytes of one file."""

MAX_DEPTH = 100
"""Deepest nesting of one document."""

MAX_NODES = 1_000_000
"""Most values of one document once its aliases are expanded."""

MAX_DIGITS = 300
"""Most characters of a number; a double has no more before its point."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _WorkflowLoader(_Loader):  # type: ignore[misc]  # which of the two loaders is known at run time
    """The C loader with YAML 1.2's core types, and JSON's rule that a key is a text: ``true:`` is the key ``true``."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        # Replaces `<<` by the merged keys, and puts them first: a key of the file may override one.
        self.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedError(problem="a key is a text, not a list or a mapping", problem_mark=key.start_mark)
            mapping[key.value] = self.construct_object(value, deep=deep)
        if len(mapping) != len(node.value):
            _refuse_duplicates(node)
        return mapping

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = node.value
        number = math.inf if len(text) > MAX_DIGITS else float(text)
        if not math.isfinite(number):
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            raise _RefusedError(problem=f"{shown} is too large a number", problem_mark=node.start_mark)
        return int(text) if node.tag.endswith("int") else number


_PLAIN: tuple[tuple[str, str, list[str]], ...] = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", [*"-+0123456789"]),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", [*"-+0123456789."]),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", ["<"]),
)
"""Type to what it looks like without quotes, and the characters that it may begin with."""


def add_implicit_resolvers(which: Any) -> None:
    """Make a loader or a dumper of PyYAML know what a workflow file's texts without quotes are, besides what it knows.

    Args:
        which: The class.
    """
    for tag, pattern, first in _PLAIN:
        which.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


_WorkflowLoader.yaml_implicit_resolvers = {}
add_implicit_resolvers(_WorkflowLoader)
for _tag in ("int", "float"):
    _WorkflowLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _WorkflowLoader.construct_number)


class _RefusedError(yaml.MarkedYAMLError):
    """It is YAML, but not what a workflow file may hold."""


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in reversed(node.value):
        later = seen.setdefault(key.value, key)
        # Of a merged key and the file's own, only the own one starts behind the mapping's start.
        if later is not key and key.start_mark.index >= node.start_mark.index:
            raise _RefusedError(
                problem=f"key {key.value!r} is given twice; first in line {key.start_mark.line + 1}",
                problem_mark=later.start_mark,
            )


class _Lines:
    """A text's lines as they may be shown, split once however many diagnostics need them.

    Attributes:
        text: The text, its secrets hidden.
        hides: Whether there are any.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = _LINE_END.split(text)
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
        self._secrets: set[str] = set()

    @property
    def hides(self) -> bool:
        """Whether a part of the text must not be shown."""
        return bool(self._secrets)

    def hide(self, spans: Iterable[tuple[int, int]], secrets: Iterable[str]) -> None:
        """Hide parts of the text, each character by itself, so that all else stays where it is.

        Args:
            spans: Where they start and end.
            secrets: What they are, so that no message repeats them.
        """
        characters = list(self.text)
        for start, end in spans:
            characters[start:end] = [each if each in _BLANK else HIDDEN for each in characters[start:end]]
        self.text = "".join(characters)
        found = {secret.strip() for secret in secrets if secret.strip()}
        for secret in found:
            # The same may stand at a place that does not tell what it is.
            if len(secret) >= _UNMISTAKABLE:
                self.text = self.text.replace(secret, HIDDEN * len(secret))
        self._lines = _LINE_END.split(self.text)
        self._secrets |= found

    def without_secrets(self, message: str) -> str:
        """Put ``***`` in place of every secret in a message."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            # As Python writes it between quotes, too; a short one only where it stands by itself.
            for written in dict.fromkeys((secret, repr(secret)[1:-1])):
                message = re.sub(rf"(?<!\w){re.escape(written)}(?!\w)", "***", message)
        for start, end, _ in reversed([*find_shapes(message)]):
            message = f"{message[:start]}***{message[end:]}"
        return message

    def __getitem__(self, number: int) -> str:
        return self._lines[number][:_LONGEST_EXCERPT].rstrip() if number < len(self._lines) else ""

    def may_nest(self, depth: int) -> bool:
        """Tell, quickly, whether collections may nest so deep; the C parser takes the process with it beyond some 20,000."""
        # A collection begins with a bracket, or further right than all but one of those around it.
        brackets = sum(line.count("[") + line.count("{") for line in self._lines)
        return brackets + 2 * max(map(len, self._lines)) > depth

    def place(self, index: int) -> tuple[int, int]:
        """Give line and column, counted from 0, of a character."""
        line = bisect_right(self._starts, index) - 1
        return line, index - self._starts[line]


_LONGEST_EXCERPT = 1000
"""Characters of a line that a diagnostic carries."""

_UNMISTAKABLE = 7
"""Characters from which on a secret is no word that the file may use for something else."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where YAML ends a line."""


@dataclass(frozen=True)
class Document:
    """One document of a file.

    Attributes:
        path: The file, as it was named to the reader.
        text: The whole file.
        index: Which document of the file, counted from 0.
        data: The document as plain data.
        lines: The file's lines.
        leaks: Errors that name the secrets which it holds in plain text.
    """

    path: str
    text: str = field(repr=False)
    index: int
    data: Any = field(repr=False)
    lines: _Lines = field(repr=False, compare=False)
    leaks: tuple[Diagnostic, ...] = ()

    def source(self, notation: str) -> Source:
        """Say where a workflow came from that was read from this document; secrets of the file stay behind."""
        return Source(self.path, self.lines.text, self.index, notation, hides=self.lines.hides)

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
        line, column = self.place(path, at_key=at_key, offset=offset)
        message, suggestion = self.lines.without_secrets(message), self.lines.without_secrets(suggestion)
        return Diagnostic(self.path, line + 1, column + 1, message, suggestion, severity, self.lines[line])

    def place(self, path: DocumentPath, *, at_key: bool = False, offset: int | None = None) -> tuple[int, int]:
        """Give line and column, counted from 0, of a place; the arguments are those of :meth:`diagnostic`."""
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
            return self.lines.place(_index_in_scalar(self.text, node, offset))
        return mark.line, mark.column

    def spans(self, secret: Secret) -> list[tuple[int, int]]:
        """Give start and end of every character of a secret of this document in the file's text."""
        node, key = self._node, None
        for part in secret.path:
            key, node = _member(node, part) if node is not None else (None, None)
        scalar = key if secret.in_key else node
        if not isinstance(scalar, yaml.ScalarNode):
            return []
        written = [*_written(self.text, scalar)]
        if secret.start is None:
            return written
        first, last = (_solid(scalar.value[:end]) for end in (secret.start, secret.end))
        return written[first:last]

    def hide(self, paths: Iterable[DocumentPath], secrets: Iterable[str]) -> None:
        """Hide all that stands at some places, however it is written.

        Args:
            paths: The ways to them.
            secrets: What no message may repeat.
        """
        spans: list[tuple[int, int]] = []
        for path in paths:
            node: yaml.Node | None = self._node
            for part in path:
                node = _member(node, part)[1] if node is not None else None
            for scalar in _scalars(node):
                spans += _written(self.text, scalar)
        self.lines.hide(spans, secrets)

    @property
    def start(self) -> int:
        """Where the document starts in the file's text."""
        return self._node.start_mark.index if self._node is not None else 0


_BLANK = frozenset(" \t\r\n\x85\u2028\u2029")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_BLANK_ESCAPES = frozenset(["\\n", "\\t", "\\r", "\\ ", "\\\n", "\\\t", "\\N", "\\L", "\\P"])


def _index_in_scalar(text: str, node: yaml.ScalarNode, offset: int) -> int:
    """Find where a character of a scalar's value stands in the text.

    However a scalar is written, quotes, indentation, folding and most escapes change only white space. So the n-th other
    character of the value is the n-th of what is written.
    """
    wanted = _solid(node.value[:offset])
    index, last = node.start_mark.index, node.start_mark.index
    for start, end in _written(text, node):
        if wanted == 0:
            return start
        wanted -= 1
        index, last = start, end
    return last if wanted == 0 else index


def _solid(text: str) -> int:
    """Count the characters that are no white space."""
    return sum(character not in _BLANK for character in text)


_PROPERTY = re.compile(r"[&!]\S*\s+")


def _written(text: str, node: yaml.ScalarNode) -> Iterator[tuple[int, int]]:
    """Give start and end of each character in a scalar's text that is no white space."""
    position, end = node.start_mark.index, node.end_mark.index
    # An anchor and a tag belong to the node, but not to its value.
    while (part := _PROPERTY.match(text, position, end)) is not None:
        position = part.end()
    if node.style in ("|", ">"):
        header = _LINE_END.search(text, position)
        position = header.end() if header else end
    elif node.style in ("'", '"'):
        position, end = position + 1, end - 1
    while position < end:
        size = 1
        escape = None
        if node.style == "'" and text.startswith("''", position):
            size = 2
        elif node.style == '"' and (escape := _ESCAPE.match(text, position)):
            size = len(escape[0])
        if text[position] not in _BLANK and not (escape and escape[0] in _BLANK_ESCAPES):
            yield position, position + size
        position += size


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.CollectionNode):
        for member in node.value:
            for each in member if isinstance(member, tuple) else (member,):
                yield from _scalars(each)


def _member(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
        for key, value in node.value:
            if key.value == "<<":
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    found = _member(merged, part)
                    if found[1] is not None:
                        return found
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
    lines = _Lines(text)

    def refuse(message: str, suggestion: str = "", place: tuple[int, int] = (0, 0)) -> Documents:
        line, column = place
        if hidden := [*lines_to_hide(text)]:
            lines.hide(hidden, (text[start:end] for start, end in hidden))
        message = lines.without_secrets(message)
        found = Diagnostic(path, line + 1, column + 1, message, suggestion, text=lines[line])
        return Documents(_with_leaks(documents, text, lines), (found,))

    documents: list[Document] = []
    if lines.may_nest(50 * MAX_DEPTH) and (place := _too_deep(text)):
        return refuse(_TOO_DEEP, place=place)
    index = 0
    try:
        loader = _WorkflowLoader(text)
        try:
            while loader.check_data():
                data = loader.get_data()
                if data is not None:
                    _refuse_size(data)
                    documents.append(Document(path, text, index, data, lines))
                index += 1
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = error.problem or "not YAML"
        if not isinstance(error, _RefusedError):
            message = f"not YAML: {message}{' ' * bool(error.context)}{error.context or ''}"
        return refuse(message, place=(mark.line, mark.column) if mark else (0, 0))
    except yaml.reader.ReaderError:
        character = yaml.reader.Reader.NON_PRINTABLE.search(text)
        index = character.start() if character else 0
        # The library looks for such characters before all else; the documents before this one are fine.
        documents += parse(path, text[: text.rfind("\n---", 0, index) + 1]).documents
        place = lines.place(index)
        shown = f"{ord(character[0]):#06x}" if character else "a character"
        return refuse(f"{shown} is a control character, which YAML does not take", "delete it", place)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = _TOO_DEEP if isinstance(error, RecursionError) else str(error)
        return refuse(reason, place=(_too_deep(text) if reason == _TOO_DEEP else None) or (0, 0))
    if not documents:
        return refuse("the file is empty", "write a workflow, or take it out of the folder")
    return Documents(_with_leaks(documents, text, lines))


def _with_leaks(documents: Sequence[Document], text: str, lines: _Lines) -> tuple[Document, ...]:
    """Look for secrets in plain text, hide them, and give the documents with an error for each."""
    found: list[tuple[int, int, str, str]] = []
    covered: set[int] = set()
    for number, document in enumerate(documents if may_hold_secrets(text) else ()):
        for secret in find_secrets(document.data):
            spans = document.spans(secret)
            if spans and spans[0][0] not in covered:
                covered.update(index for span in spans for index in range(*span))
                lines.hide(spans, [secret.text])
                found.append((number, spans[0][0], secret.what, _instead(secret.path)))
    # What is left stands in a comment, or in a document that cannot be read.
    for start, end, what in find_shapes(text):
        if start not in covered and documents:
            lines.hide([(start, end)], [text[start:end]])
            number = max((number for number, document in enumerate(documents) if document.start <= start), default=0)
            found.append((number, start, what, "delete it"))
    if not found:
        return tuple(documents)
    leaks: dict[int, list[Diagnostic]] = {}
    for number, index, what, suggestion in sorted(found):
        line, column = lines.place(index)
        message = f"{what} is written in plain text"
        leaks.setdefault(number, []).append(
            Diagnostic(documents[number].path, line + 1, column + 1, message, suggestion, text=lines[line])
        )
    return tuple(replace(document, leaks=tuple(leaks.get(number, ()))) for number, document in enumerate(documents))


def _instead(path: DocumentPath) -> str:
    """Say what to write in place of a secret."""
    if "inputs" in path[:2] or path[:2] == ("spec", "parameters"):
        # A default is no template, and would show in the trigger form.
        return "take the default away, and write {{ secrets.<name> }} where it is used"
    return "keep it in a secrets backend and write {{ secrets.<name> }}"


_TOO_DEEP = f"the document nests more than {MAX_DEPTH} levels deep"


def _too_deep(text: str) -> tuple[int, int] | None:
    """Give the place where a text nests too deep, reading it event by event: no depth can exhaust the stack here."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH and event.start_mark:
                    return event.start_mark.line, event.start_mark.column
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        # Reading it for its data tells the same with better words, and cannot come deeper than this.
        return None
    return None


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
    raise ValueError(_TOO_DEEP)

"""What stands between the braces of a Handlebars tag: paths, literals, helper calls and sub-expressions.

Each is a value that a :class:`Scope` gives a meaning to. At the root of a template a path goes to the resolver, which alone
knows the workflow's names; inside ``#each`` and ``#with`` it is followed in the item at hand and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.helpers import HELPERS, find_problem
from airflow_llm_provider.workflow.syntax import Limited, Path, Reference, Resolver
from airflow_llm_provider.workflow.values import get_item

__all__ = [
    "IDENTIFIER",
    "Constant",
    "HelperCall",
    "Levels",
    "PathValue",
    "Scope",
    "Value",
    "call",
    "make_path",
    "read_values",
]

IDENTIFIER = r"""[^\s!"#%&'()*+,./;<=>@\[\\\]^`{|}~]+"""
"""What Handlebars allows as one part of a path without brackets, as a regular expression."""

Levels = tuple[frozenset[str], ...]
"""The contexts around a place, outermost first, each as the names of its block parameters; empty at the root."""

_MAX_NESTING = 50
_SEGMENT = rf"(?:\[[^\[\]]*\]|{IDENTIFIER})"
_PATH = re.compile(rf"(@)?((?:\.\./)*)(?:(\.\.)|(\./)?({_SEGMENT}(?:[./]{_SEGMENT})*)|\.)")
_SEGMENTS = re.compile(_SEGMENT)
_TOKEN = re.compile(
    rf"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<word>(?:-?[0-9]+(?:\.[0-9]+)?|true|false|null|undefined)(?=[\s)]|\Z))
    |(?P<path>{_PATH.pattern})(?=[\s)]|\Z)
    |(?P<open>\()|(?P<close>\)))""".replace("\n    |", "|"),
    re.DOTALL,
)
_QUOTED = re.compile(r"""\\(["'])""")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "undefined": None}
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_DATA = ("first", "index", "key", "last", "root")


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean at one place while a template is rendered.

    Attributes:
        resolve: Looks up what reaches the root.
        value: The item that paths are followed in; unused at the root.
        parent: The scope around this one; None at the root.
        names: Block parameters.
        data: ``@index`` and its like.
    """

    resolve: Resolver
    value: object = None
    parent: Scope | None = None
    names: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)


class Value:
    """Something between braces that has a value."""

    __slots__ = ()

    def evaluate(self, scope: Scope) -> object:
        """Compute the value."""
        raise NotImplementedError

    def visit(self, levels: Levels, found: list[Reference]) -> None:
        """Add the references that reach the root to ``found``."""


@dataclass(frozen=True, slots=True)
class Constant(Value):
    """A literal."""

    value: bool | int | float | str | None

    def evaluate(self, scope: Scope) -> object:
        """Give the literal's value."""
        return self.value


@dataclass(frozen=True, slots=True)
class PathValue(Value):
    """A path.

    Attributes:
        parts: The names and indexes that are followed.
        offset: Where it starts in the template.
        up: How many contexts it leaves first (``../``).
        data: The name behind an ``@``; None for other paths.
        anchored: It starts with ``this`` or a dot, so block parameters do not hide what it means.
    """

    parts: Path
    offset: int
    up: int = 0
    data: str | None = None
    anchored: bool = False

    def evaluate(self, scope: Scope) -> object:
        """Follow the path; None where it leads nowhere."""
        if self.data is None:
            return self._in_context(scope)
        if self.data == "root":
            return scope.resolve(self.parts)
        at: Scope | None = _climb(scope, self.up)
        while at is not None:
            if self.data in at.data:
                return _follow(at.data[self.data], self.parts)
            at = at.parent
        return None

    def _in_context(self, scope: Scope) -> object:
        if not self.anchored:
            at: Scope | None = scope
            while at is not None:
                if self.parts[0] in at.names:
                    return _follow(at.names[str(self.parts[0])], self.parts[1:])
                at = at.parent
        scope = _climb(scope, self.up)
        return scope.resolve(self.parts) if scope.parent is None else _follow(scope.value, self.parts)

    def visit(self, levels: Levels, found: list[Reference]) -> None:
        """Add itself if it reaches the root."""
        if self.data is None:
            hidden = not self.anchored and any(self.parts[0] in names for names in levels)
            if hidden or len(levels) > self.up:
                return
        elif self.data != "root":
            return
        if not self.parts:
            raise ExpressionError(
                "outside '#each' and '#with' there is no item; write the name of one value", self.offset
            )
        found.append(Reference(self.parts, self.offset))


@dataclass(frozen=True, slots=True)
class HelperCall(Value):
    """A helper with its arguments."""

    name: str
    arguments: tuple[Value, ...]

    def evaluate(self, scope: Scope) -> object:
        """Call the helper."""
        if isinstance(scope.resolve, Limited):
            scope.resolve.check()
        return HELPERS[self.name].run(*[argument.evaluate(scope) for argument in self.arguments])

    def visit(self, levels: Levels, found: list[Reference]) -> None:
        """Visit the arguments."""
        for argument in self.arguments:
            argument.visit(levels, found)


def make_path(text: str, offset: int) -> PathValue:
    """Read a path.

    Args:
        text: A path that follows Handlebars' rules.
        offset: Where it starts in the template.

    Raises:
        ExpressionError: A name behind ``@`` that Handlebars does not know.
    """
    match = _PATH.fullmatch(text)
    if match is None:
        raise ExpressionError(f"{text!r} is no path", offset)
    at, ups, parent, here, segments = match.groups()
    up = len(ups) // 3 + bool(parent)
    parts = [part[1:-1] if part[0] == "[" else part for part in _SEGMENTS.findall(segments or "")]
    anchored = bool(up or here or not parts or segments == "this" or (segments or "").startswith(("this.", "this/")))
    data = None
    if at:
        data = parts.pop(0) if parts else ""
        if data not in _DATA:
            raise ExpressionError(
                f"unknown name {'@' + data!r}; there are {', '.join('@' + name for name in _DATA)}", offset
            )
    elif parts and parts[0] == "this" and not up and not here:
        del parts[0]
    path: Path = tuple(
        int(part) if position and _INDEX.fullmatch(part) else part for position, part in enumerate(parts)
    )
    return PathValue(path, offset, up, data, anchored)


def read_values(text: str, offset: int) -> list[Value]:
    """Read what stands in a tag, one value after the other.

    Args:
        text: The inside of the tag.
        offset: Where it starts in the template.

    Returns:
        The values. A path followed by others is still a path: what it means is for the tag to say.

    Raises:
        ExpressionError: Something there is neither path nor literal nor sub-expression.
    """
    stack: list[tuple[int, list[Value]]] = [(offset, [])]
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        start = offset + (match.start(match.lastgroup or 0) if match else position + _blank(text, position))
        if match is None:
            raise _unreadable(text[start - offset :], start)
        position = match.end()
        if match["open"]:
            stack.append((start, []))
            if len(stack) > _MAX_NESTING:
                raise ExpressionError(f"sub-expressions are nested more than {_MAX_NESTING} levels deep", start)
        elif match["close"]:
            if len(stack) == 1:
                raise ExpressionError("found ')' without '('", start)
            opened, values = stack.pop()
            stack[-1][1].append(call(values, opened))
        elif match["text"]:
            stack[-1][1].append(Constant(_QUOTED.sub(r"\1", match["text"][1:-1])))
        elif match["word"]:
            stack[-1][1].append(Constant(_word(match["word"])))
        else:
            stack[-1][1].append(make_path(match["path"], start))
    if len(stack) > 1:
        raise ExpressionError("found '(' without ')'", stack[-1][0])
    return stack[0][1]


def call(values: list[Value], offset: int) -> HelperCall:
    """Make a helper call out of a name and the values behind it.

    Args:
        values: What stands in the tag or the parentheses.
        offset: Where that starts in the template.

    Raises:
        ExpressionError: There is no such helper, or it takes another number of values.
    """
    head = values[0] if values else None
    if not isinstance(head, PathValue) or len(head.parts) != 1 or head.anchored or head.data:
        raise ExpressionError("expected the name of a helper", head.offset if isinstance(head, PathValue) else offset)
    name = str(head.parts[0])
    if problem := find_problem(name, len(values) - 1):
        raise ExpressionError(problem, head.offset)
    return HelperCall(name, tuple(values[1:]))


def _unreadable(rest: str, offset: int) -> ExpressionError:
    if rest[0] in "'\"":
        return ExpressionError(f"the text that starts with {rest[0]} has no end", offset)
    match = re.match(rf"(?:{IDENTIFIER})?[^\w\s]?", rest)
    found = match[0] if match and match[0] else rest[0]
    hint = ""
    if found.endswith("="):
        hint = "; comparisons are helpers here, as in (eq a b), and values have no names"
    elif rest[0] in "=!<>&|+*/%-":
        hint = "; for operators write an expression: ${{ … }}"
    elif found.endswith("("):
        hint = "; functions belong in an expression: ${{ … }}"
    return ExpressionError(f"found {found!r}, expected a path, a literal or '('{hint}", offset)


def _word(word: str) -> bool | int | float | None:
    if word in _WORDS:
        return _WORDS[word]
    return float(word) if "." in word else int(word[:300])


def _blank(text: str, position: int) -> int:
    return len(text) - position - len(text[position:].lstrip())


def _climb(scope: Scope, levels: int) -> Scope:
    # `../` at the root stays there: templates written for a Handlebars in which '#if' was a context too mean the same.
    while levels and scope.parent is not None:
        scope, levels = scope.parent, levels - 1
    return scope


def _follow(value: object, parts: Path) -> object:
    for part in parts:
        value = get_item(value, part)
    return value

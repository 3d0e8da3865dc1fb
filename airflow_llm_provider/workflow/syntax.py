"""The syntax tree of the expression language: what each construct evaluates to, refers to, and looks like in writing.

Every node is a frozen value. Where it stood in the source is carried along for error messages, but does not take part in
comparisons, so two ways of writing the same expression give equal trees.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.functions import FUNCTIONS, calculate, negate
from airflow_llm_provider.workflow.values import Comparison, compare, equal, get_item, truthy

__all__ = [
    "MAX_SECONDS",
    "PRECEDENCE",
    "Binary",
    "Braces",
    "Call",
    "Limited",
    "Literal",
    "Member",
    "Name",
    "Node",
    "Path",
    "Reference",
    "Resolver",
    "Unary",
]

Path = tuple[str | int, ...]
"""The parts of a reference: names and indexes, the first a name."""

Resolver = Callable[[Path], object]
"""Gives the JSON value that a path leads to, None where there is none."""

MAX_SECONDS = 5.0
"""Longest time that an expression or a template may take; one operation or one turn of a loop may still end."""

PRECEDENCE = {
    **{"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4},
    **{"+": 5, "-": 5, "*": 6, "/": 6, "%": 6},
}
"""How strongly each operator with two operands binds."""

_UNARY = 7
_ATOM = 8

_NAME = re.compile(r"[^\W\d]\w*")
_STEP_ID = re.compile(r"\w+(?:-+\w+)*")
_STEP_ROOTS = frozenset({"steps", "tasks", "outputs"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of a name.

    Attributes:
        path: The constant part of the path that the source follows from there.
        offset: Where the path starts in the source text, in characters from 0.
    """

    path: Path
    offset: int


class Limited:
    """A resolver for one evaluation, and when that has to be over.

    Size and depth are bounded elsewhere, but 10,000 characters are enough to ask for a thousand large texts.

    Args:
        resolve: What it asks; a limited one is to end when it would have ended anyway.
    """

    __slots__ = ("_end", "_resolve")

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._end: float = resolve._end if isinstance(resolve, Limited) else time.thread_time() + MAX_SECONDS

    def __call__(self, path: Path) -> object:
        """Give the value that a path leads to."""
        return self._resolve(path)

    def check(self) -> None:
        """Look at the clock; raises :class:`~airflow_llm_provider.errors.ExpressionError` when the time is over."""
        if time.thread_time() > self._end:
            raise ExpressionError(
                f"the values take longer than {MAX_SECONDS:g} s to compute; use less, or smaller ones"
            )


class Node:
    """One construct."""

    __slots__ = ()

    def evaluate(self, resolve: Resolver) -> object:
        """Compute the value; raises :class:`~airflow_llm_provider.errors.ExpressionError` if there is none."""
        raise NotImplementedError

    def children(self) -> tuple[Node, ...]:
        """Give the nodes inside this one, in the order they are written."""
        return ()

    def write(self, outer: int = 0) -> str:
        """Give the source text, in parentheses if it binds weaker than ``outer``."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value that is written out."""

    value: bool | int | float | str | None

    def evaluate(self, resolve: Resolver) -> object:
        """Give the value."""
        return self.value

    def write(self, outer: int = 0) -> str:
        """Write it as JSON."""
        return json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A reference: a name, and the constant members followed from there."""

    path: Path
    offset: int = field(default=0, compare=False)

    def evaluate(self, resolve: Resolver) -> object:
        """Look the path up."""
        return resolve(self.path)

    def write(self, outer: int = 0) -> str:
        """Write a dotted path, with brackets only where they are needed."""
        text = str(self.path[0])
        for position, part in enumerate(self.path[1:], 1):
            is_id = position == 1 and text in _STEP_ROOTS and isinstance(part, str) and _STEP_ID.fullmatch(part)
            text += f".{part}" if is_id else _member(part)
        return text


@dataclass(frozen=True, slots=True)
class Member(Node):
    """A member of a computed value, or one whose key is computed."""

    value: Node
    key: Node

    def evaluate(self, resolve: Resolver) -> object:
        """Take the member, None if there is none."""
        return get_item(self.value.evaluate(resolve), self.key.evaluate(resolve))

    def children(self) -> tuple[Node, ...]:
        """Give the value and the key."""
        return self.value, self.key

    def write(self, outer: int = 0) -> str:
        """Write ``value.key`` or ``value[key]``."""
        if isinstance(self.key, Literal) and isinstance(self.key.value, str):
            return self.value.write(_ATOM) + _member(self.key.value)
        return f"{self.value.write(_ATOM)}[{self.key.write()}]"


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """``!`` or a minus sign."""

    op: str
    operand: Node
    offset: int = field(default=0, compare=False)

    def evaluate(self, resolve: Resolver) -> object:
        """Negate."""
        value = self.operand.evaluate(resolve)
        if self.op == "!":
            return not truthy(value)
        return _at(self.offset, negate, value)

    def children(self) -> tuple[Node, ...]:
        """Give the operand."""
        return (self.operand,)

    def write(self, outer: int = 0) -> str:
        """Write the operator and its operand."""
        return _wrap(self.op + self.operand.write(_UNARY), _UNARY, outer)


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """An operator between two operands."""

    op: str
    left: Node
    right: Node
    offset: int = field(default=0, compare=False)

    def evaluate(self, resolve: Resolver) -> object:
        """Apply the operator; ``&&`` and ``||`` give one of their operands and compute the right one only if needed."""
        op, left = self.op, self.left.evaluate(resolve)
        if op == "&&":
            return self.right.evaluate(resolve) if truthy(left) else left
        if op == "||":
            return left if truthy(left) else self.right.evaluate(resolve)
        right = self.right.evaluate(resolve)
        _check_time(resolve, self.offset)
        if op == "==":
            return equal(left, right)
        if op == "!=":
            return not equal(left, right)
        if op in _COMPARISONS:
            return compare(left, right, _COMPARISONS[op])
        return _at(self.offset, calculate, op, left, right)

    def children(self) -> tuple[Node, ...]:
        """Give both operands."""
        return self.left, self.right

    def write(self, outer: int = 0) -> str:
        """Write both operands with the operator between them."""
        level = PRECEDENCE[self.op]
        # All operators group to the left, except comparisons, which do not chain at all.
        left = self.left.write(level + (self.op in _COMPARISONS))
        return _wrap(f"{left} {self.op} {self.right.write(level + 1)}", level, outer)


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function call."""

    name: str
    arguments: tuple[Node, ...]
    offset: int = field(default=0, compare=False)

    def evaluate(self, resolve: Resolver) -> object:
        """Call the function; ``if`` and ``default`` compute only the argument they give."""
        if self.name == "if":
            chosen = 1 if truthy(self.arguments[0].evaluate(resolve)) else 2
            return self.arguments[chosen].evaluate(resolve) if chosen < len(self.arguments) else None
        if self.name == "default":
            value = self.arguments[0].evaluate(resolve)
            return self.arguments[1].evaluate(resolve) if value is None else value
        values = [argument.evaluate(resolve) for argument in self.arguments]
        _check_time(resolve, self.offset)
        return _at(self.offset, FUNCTIONS[self.name].run, *values)

    def children(self) -> tuple[Node, ...]:
        """Give the arguments."""
        return self.arguments

    def write(self, outer: int = 0) -> str:
        """Write the call."""
        return f"{self.name}({', '.join(argument.write() for argument in self.arguments)})"


@dataclass(frozen=True, slots=True)
class Braces(Node):
    """``{{ … }}`` or ``${{ … }}`` as a value, not looked into yet: only conditions know what to do with it."""

    text: str
    offset: int = field(default=0, compare=False)

    def write(self, outer: int = 0) -> str:
        """Write it as it was."""
        return self.text


_COMPARISONS: dict[str, Comparison] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _at(offset: int, function: Callable[..., object], *values: object) -> object:
    try:
        return function(*values)
    except ExpressionError as error:
        raise ExpressionError(str(error), offset) from None
    except (OverflowError, RecursionError):
        raise ExpressionError("the result is too large", offset) from None


def _check_time(resolve: Resolver, offset: int) -> None:
    if isinstance(resolve, Limited):
        _at(offset, resolve.check)


def _wrap(text: str, level: int, outer: int) -> str:
    return f"({text})" if level < outer else text


def _member(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _NAME.fullmatch(part) else f"[{json.dumps(part, ensure_ascii=False)}]"

"""Conditions: one expression in which templates stand as values, or a text that says yes or no.

``{{ outputs.score }} > 5 && ${{ steps.a.kind }} == 'x'`` is parsed once, with the templates as its atoms. Nothing is put into
the text before it is parsed, so no value can change what a condition means.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow import handlebars
from airflow_llm_provider.workflow.blocks import Text
from airflow_llm_provider.workflow.expressions import MAX_SOURCE, parse_tree
from airflow_llm_provider.workflow.handlebars import Program
from airflow_llm_provider.workflow.syntax import (
    Binary,
    Braces,
    Call,
    Limited,
    Literal,
    Member,
    Name,
    Node,
    Reference,
    Resolver,
    Unary,
)
from airflow_llm_provider.workflow.values import equal, truthy

__all__ = ["Condition", "is_true", "parse_condition"]

_NO = frozenset({"", "false", "0", "no"})
_WORDS = frozenset({"yes", "no", "true", "false"})
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|"""
_BLOCK = re.compile(_QUOTED + r"(\{\{\{\{|\{\{~?[#^>])", re.DOTALL)
_PROSE = re.compile(r"\w+(?:[,.;:!?]? +\w+)+[.!?]?")
_OPERATOR = re.compile(r"==|!=|<|>|&&|\|\|")


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition.

    Attributes:
        references: Every name of the workflow it uses, where it stands in the condition.
        warnings: What it probably does not mean as it is written.
    """

    references: tuple[Reference, ...]
    warnings: tuple[str, ...]
    _root: Node = field(repr=False)

    def evaluate(self, resolve: Resolver) -> bool:
        """Decide; :func:`is_true` says how a value counts.

        Args:
            resolve: Gives the value of a path, None where there is none.

        Raises:
            ExpressionError: The condition cannot be evaluated.
        """
        return is_true(self.value(resolve))

    def value(self, resolve: Resolver) -> object:
        """Give the value that decides.

        Args:
            resolve: Gives the value of a path, None where there is none.

        Raises:
            ExpressionError: The condition cannot be evaluated.
        """
        try:
            return self._root.evaluate(Limited(resolve))
        except RecursionError:
            raise ExpressionError("a value in the condition is nested too deep") from None


def is_true(value: object) -> bool:
    """Tell whether a condition's value counts as true.

    Args:
        value: Any JSON value. Text counts as false if it is ``false``, ``0``, ``no`` or empty, in any case.
    """
    return value.strip().lower() not in _NO if isinstance(value, str) else truthy(value)


def parse_condition(source: str | bool | int | float, known: Callable[[str], bool] | None = None) -> Condition:
    """Parse a condition.

    Args:
        source: The text; a boolean or number is its own answer.
        known: Tells whether a bare word names something. If given, a word beside ``==`` or ``!=`` that names nothing is text.

    Raises:
        ExpressionError: The text is no condition; the message says what was found and what was expected.
    """
    if not isinstance(source, str):
        return Condition((), (), Literal(source))
    if _PROSE.fullmatch(source.strip()):
        return Condition((), (f"{source!r} is only text, and so always true",), Literal(True))
    root = _parse(source)
    reader = _Reader(known)
    root = reader.read(root)
    return Condition(tuple(reader.references), tuple(dict.fromkeys(reader.warnings)), root)


@lru_cache(maxsize=4096)
def _parse(source: str) -> Node:
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"the condition is longer than {MAX_SOURCE:,} characters", MAX_SOURCE)
    text = source.strip()
    if not text:
        return Literal(False)
    if any(match[1] for match in _BLOCK.finditer(source)):
        return _Filled(_template(source), 0)
    if text.lower() in _WORDS:
        return Literal(text)
    return _fill(parse_tree(source))


def _template(source: str) -> Program:
    program = handlebars.parse(source)
    outside = "".join(node.text for node in program.body if isinstance(node, Text))
    if match := _OPERATOR.search(outside):
        raise ExpressionError(
            f"found {match[0]!r} beside a template with blocks; write the whole condition as one expression"
        )
    return program


def _fill(node: Node) -> Node:
    if not isinstance(node, Braces):
        return _rebuild(node, _fill)
    try:
        program = handlebars.parse(node.text)
    except ExpressionError as error:
        raise ExpressionError(str(error), node.offset + (error.offset or 0)) from None
    if program.only is None:
        raise ExpressionError(f"{node.text!r} has no value", node.offset)
    return _Filled(program, node.offset)


@dataclass(frozen=True, slots=True)
class _Filled(Node):
    """A template as a value."""

    program: Program
    offset: int

    def evaluate(self, resolve: Resolver) -> object:
        return self.program.value(resolve)


@dataclass(frozen=True, slots=True)
class _Word(Node):
    """A bare word that names nothing, unless a run turns out to have a value for it."""

    word: str

    def evaluate(self, resolve: Resolver) -> object:
        value = resolve((self.word,))
        return self.word if value is None else value


@dataclass(frozen=True, slots=True)
class _Equality(Node):
    """``==`` or ``!=`` with a ``{{ path }}`` beside it, which is empty text as well as null when it has no value."""

    op: str
    left: Node
    right: Node

    def evaluate(self, resolve: Resolver) -> object:
        left, right = self.left.evaluate(resolve), self.right.evaluate(resolve)
        if isinstance(resolve, Limited):
            resolve.check()
        same = equal(left, right) or (
            (left is None and right == "" and isinstance(self.left, _Filled))
            or (right is None and left == "" and isinstance(self.right, _Filled))
        )
        return same is (self.op == "==")


class _Reader:
    """Collects references and warnings, and tells words from names."""

    def __init__(self, known: Callable[[str], bool] | None) -> None:
        self.known = known
        self.references: list[Reference] = []
        self.warnings: list[str] = []

    def read(self, node: Node) -> Node:
        if isinstance(node, Name):
            self.references.append(Reference(node.path, node.offset))
        elif isinstance(node, _Filled):
            found = node.program.references
            self.references += [Reference(reference.path, reference.offset + node.offset) for reference in found]
        elif isinstance(node, Literal) and isinstance(node.value, str) and "{{" in node.value:
            self.warnings.append(
                f"{node.value!r} is in quotes and therefore not filled in; write it without the quotes"
            )
        elif isinstance(node, Binary) and node.op in ("==", "!="):
            left, right = self.left_operand(node), self.operand(node.right)
            if isinstance(left, _Filled) or isinstance(right, _Filled):
                return _Equality(node.op, left, right)
            return dataclasses.replace(node, left=left, right=right)
        return _rebuild(node, self.read)

    def left_operand(self, node: Binary) -> Node:
        # `kind == 'urgent'` and `kind == urgent` compare something with a text, so that something is not a text itself.
        if isinstance(node.right, Literal) or (self.is_word(node.left) and self.is_word(node.right)):
            return self.read(node.left)
        return self.operand(node.left)

    def operand(self, node: Node) -> Node:
        if isinstance(node, Name) and self.is_word(node):
            word = str(node.path[0])
            self.warnings.append(f"{word!r} names nothing and is read as text; write {word!r} in quotes")
            return _Word(word)
        return self.read(node)

    def is_word(self, node: Node) -> bool:
        return (
            self.known is not None
            and isinstance(node, Name)
            and len(node.path) == 1
            and not self.known(str(node.path[0]))
        )


def _rebuild(node: Node, change: Callable[[Node], Node]) -> Node:
    if isinstance(node, Binary):
        return dataclasses.replace(node, left=change(node.left), right=change(node.right))
    if isinstance(node, Unary):
        return dataclasses.replace(node, operand=change(node.operand))
    if isinstance(node, Member):
        return Member(change(node.value), change(node.key))
    if isinstance(node, Call):
        return dataclasses.replace(node, arguments=tuple(map(change, node.arguments)))
    return node

"""The expression language of ``${{ }}`` and of conditions: from source text to a value.

:func:`parse` gives an :class:`Expression`, which can be evaluated as often as needed against a resolver, the only way to any
value. A plain dotted path, by far the most frequent expression, is read without the parser, whose library takes longer to
import than everything else here together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.syntax import Braces, Limited, Name, Node, Path, Reference, Resolver

__all__ = ["MAX_DEPTH", "MAX_SOURCE", "Expression", "Path", "Reference", "Resolver", "parse", "parse_tree", "to_source"]

MAX_SOURCE = 10_000
"""Most characters that an expression may have."""

MAX_DEPTH = 100
"""How deep an expression may be nested; a chain of operators counts once for each operator."""

_PLAIN = re.compile(r"(?:(?:steps|tasks|outputs)\.\w+(?:-+\w+)*|[^\W\d]\w*)(?:\.[^\W\d]\w*|\[(?:0|[1-9][0-9]{0,8})\])*")
_PART = re.compile(r"\[([0-9]+)\]|([\w-]+)")
_KEYWORDS = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes:
        root: The syntax tree.
        source: What it was parsed from.
        references: Every name it uses, in the order they are written.
    """

    root: Node
    source: str = field(compare=False)
    references: tuple[Reference, ...] = field(compare=False)

    def evaluate(self, resolve: Resolver) -> object:
        """Compute the value.

        Args:
            resolve: Gives the value of a path, None where there is none.

        Raises:
            ExpressionError: An operator or a function does not fit its values, or the result is too large or takes too long.
        """
        if isinstance(self.root, Name):
            return resolve(self.root.path)
        try:
            return self.root.evaluate(Limited(resolve))
        except RecursionError:
            raise ExpressionError("a value in the expression is nested too deep") from None


@lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """Parse an expression.

    Args:
        source: The text between ``${{`` and ``}}``, at most :data:`MAX_SOURCE` characters.

    Raises:
        ExpressionError: The text is no expression; the message says what was found and what was expected.
    """
    root = parse_tree(source)
    references: list[Reference] = []
    for node in _walk(root):
        if isinstance(node, Name):
            references.append(Reference(node.path, node.offset))
        elif isinstance(node, Braces):
            raise ExpressionError(
                f"found {node.text!r} inside an expression; write the name without braces", node.offset
            )
    return Expression(root, source, tuple(references))


def parse_tree(source: str) -> Node:
    """Parse an expression or a condition, in which templates may stand as values.

    Args:
        source: The text, at most :data:`MAX_SOURCE` characters.

    Returns:
        The syntax tree, no deeper than :data:`MAX_DEPTH`. Templates are :class:`~airflow_llm_provider.workflow.syntax.Braces`.

    Raises:
        ExpressionError: The text is no expression.
    """
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"the expression is longer than {MAX_SOURCE:,} characters", MAX_SOURCE)
    text = source.strip()
    if _PLAIN.fullmatch(text) and text not in _KEYWORDS:
        path = tuple(int(index) if index else name for index, name in _PART.findall(text))
        return Name(path, len(source) - len(source.lstrip()))

    from airflow_llm_provider.workflow import expression_parser

    root = expression_parser.parse(source)
    _check_depth(root)
    return root


def to_source(expression: Expression) -> str:
    """Write an expression so that parsing it again gives the same tree."""
    return expression.root.write()


def _walk(node: Node) -> list[Node]:
    found, waiting = [], [node]
    while waiting:
        found.append(node := waiting.pop())
        waiting += reversed(node.children())
    return found


def _check_depth(root: Node) -> None:
    # By a list and not by recursion, which is what too deep a tree would break.
    level, depth = [root], 0
    while level:
        if (depth := depth + 1) > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep", 0)
        level = [child for node in level for child in node.children()]

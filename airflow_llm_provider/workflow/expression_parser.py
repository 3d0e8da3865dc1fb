"""Reads the grammar of expressions, and says in plain words what is wrong with a text that does not follow it.

Apart from :mod:`~airflow_llm_provider.workflow.expressions`, so that the parser library is imported only when an expression
is more than a path.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, v_args

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.spelling import nearest
from airflow_llm_provider.workflow.functions import FUNCTIONS
from airflow_llm_provider.workflow.syntax import Binary, Braces, Call, Literal, Member, Name, Node, Unary

__all__ = ["parse", "unquote"]

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LEXEME = re.compile(r"\w+|[^\w\s]")
_MAX_INTEGER_DIGITS = 300
_WORD_OPERATORS = {"and": "&&", "or": "||", "is": "==", "AND": "&&", "OR": "||"}
_OPERATORS = {"=": "==", "&": "&&", "|": "||", "===": "=="}


def parse(source: str) -> Node:
    """Parse an expression into its syntax tree, however deep.

    Args:
        source: The text of an expression or a condition.

    Raises:
        ExpressionError: The text does not follow the grammar, or calls a function that does not exist.
    """
    try:
        tree: Any = _parser().parse(source)
    except UnexpectedInput as error:
        raise _explain(source, error) from None
    node: Node = tree
    return node


def unquote(text: str) -> str:
    r"""Give the text that a quoted text stands for.

    Args:
        text: With its quotes. ``\n``, ``\uXXXX`` and the like are read; a backslash before anything else is itself. Inside
            single quotes, two of them are one.
    """
    inside = text[1:-1]
    if text[0] == "'":
        inside = inside.replace("''", "'")
    if "\\" not in inside:
        return inside
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[0]), inside)
    # As in JSON, a character beyond the first 65,536 is written as two escapes, which are one character together.
    return _PAIR.sub(lambda match: match[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    grammar = resources.files("airflow_llm_provider.workflow").joinpath("grammar.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Builder(), maybe_placeholders=False)


def _start(token: Token) -> int:
    return _known(token.start_pos)


def _known(position: object) -> int:
    # The parser library's types allow for a position that is not known; where the source is text, there always is one.
    return position if isinstance(position, int) else 0


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Makes the nodes while the parser runs, so that no depth of nesting costs recursion."""

    def name(self, token: Token) -> Node:
        return Name((str(token),), _start(token))

    def step(self, token: Token) -> Node:
        return Name(tuple(token.split(".", 1)), _start(token))

    def number(self, token: Token) -> Node:
        if token.isdecimal():
            if len(token) > _MAX_INTEGER_DIGITS:
                raise ExpressionError("the number is too large", token.start_pos)
            return Literal(int(token))
        value = float(token)
        if math.isinf(value):
            raise ExpressionError("the number is too large", token.start_pos)
        return Literal(value)

    def text(self, token: Token) -> Node:
        return Literal(unquote(token))

    def true(self, *_: Token) -> Node:
        return Literal(True)

    def false(self, *_: Token) -> Node:
        return Literal(False)

    def null(self, *_: Token) -> Node:
        return Literal(None)

    def braces(self, token: Token) -> Node:
        return Braces(str(token), _start(token))

    def member(self, value: Node, name: Token) -> Node:
        return self.index(value, Literal(str(name)))

    def index(self, value: Node, key: Node) -> Node:
        # Constant members become part of the path, so that a resolver and the checks see all of it.
        if isinstance(value, Name) and isinstance(key, Literal):
            part = key.value
            if isinstance(part, str) or (isinstance(part, int) and not isinstance(part, bool)):
                return Name((*value.path, part), value.offset)
        return Member(value, key)

    def unary(self, op: Token, operand: Node) -> Node:
        return Unary(str(op), operand, _start(op))

    def binary(self, left: Node, op: Token, right: Node) -> Node:
        return Binary(str(op), left, right, _start(op))

    def call(self, name: Token, *arguments: Node) -> Node:
        function = FUNCTIONS.get(name)
        if function is None:
            near = nearest(name, FUNCTIONS)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(FUNCTIONS)}"
            raise ExpressionError(f"unknown function {str(name)!r}; {hint}", name.start_pos)
        if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
            if function.most is None:
                needed = f"at least {function.least}"
            else:
                needed = " or ".join(map(str, range(function.least, function.most + 1)))
            unit = "value" if needed.endswith("1") else "values"
            raise ExpressionError(f"{str(name)!r} takes {needed} {unit}, got {len(arguments)}", name.start_pos)
        return Call(str(name), arguments, _start(name))


def _explain(source: str, error: UnexpectedInput) -> ExpressionError:
    accepts = _accepts(error)
    offset = len(source)
    if isinstance(error, UnexpectedCharacters):
        offset = _known(error.pos_in_stream)
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        offset = _known(error.token.start_pos)
    lexeme = _LEXEME.match(source, offset)
    found = lexeme[0] if lexeme else ""
    hint = _hint(source, offset, found, accepts)
    if not found:
        what = "the expression is empty" if not source.strip() else "the expression ends too early"
        return ExpressionError(f"{what}, expected {_expected(accepts)}{hint}", len(source))
    return ExpressionError(f"found {found!r}, expected {_expected(accepts)}{hint}", offset)


def _accepts(error: UnexpectedInput) -> set[str]:
    if isinstance(error, UnexpectedToken):
        return set(error.accepts or error.expected)
    if isinstance(error, UnexpectedCharacters):
        # All that the lexer would take here; which closing brackets fit, only the parser could tell.
        return set(error.allowed or ()) - {"RPAR", "RSQB", "COMMA"}
    return set(error.expected) if isinstance(error, UnexpectedEOF) else set()


def _expected(accepts: set[str]) -> str:
    if "NUMBER" in accepts:
        return "a value"
    if accepts == {"NAME"}:
        return "a name"
    closing = {"RPAR": "')'", "RSQB": "']'", "COMMA": "','", "$END": "the end"}
    parts = ["an operator", *(text for name, text in closing.items() if name in accepts)]
    return f"{', '.join(parts[:-1])} or {parts[-1]}" if len(parts) > 1 else parts[0]


def _hint(source: str, offset: int, found: str, accepts: set[str]) -> str:
    before = re.search(r"(\w+)\s*$", source[:offset])
    if before and before[1] == "not":
        return "; write '!' for 'not'"
    if found in _WORD_OPERATORS:
        return f"; write {_WORD_OPERATORS[found]!r} for {found!r}"
    if found in _OPERATORS and "NUMBER" not in accepts:
        return f"; write {_OPERATORS[found]!r}"
    if found == "=" and source[:offset].rstrip().endswith("="):
        return "; write '=='"
    if found in ("'", '"') and "NUMBER" in accepts:
        return f"; the text that starts with {found} has no end"
    if found == "[" and "NUMBER" in accepts:
        return "; there are no list literals"
    if source.startswith(("{{", "${{"), offset) and "NUMBER" in accepts:
        return "; '}}' is missing"
    if found == "{" and "NUMBER" in accepts:
        return "; there are no object literals"
    if found == "?":
        return "; write if(condition, value, other)"
    if found in ("<", ">") or source[offset : offset + 2] in ("<=", ">="):
        return "; comparisons do not chain, join them with '&&'"
    if found == "(":
        return "; functions are written before their values, as in upper(name)"
    return ""

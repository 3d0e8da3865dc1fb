"""Goes through the text of a Handlebars template and makes its nodes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.spelling import nearest
from airflow_llm_provider.workflow import expressions
from airflow_llm_provider.workflow.blocks import Body, Each, Embedded, If, Node, Output, Partial, Text, With
from airflow_llm_provider.workflow.mustaches import IDENTIFIER, Constant, Value, call, make_path, read_values

__all__ = ["Parser"]

_MAX_NESTING = 100
_MAX_TAG = 12_000
_MAX_INDENT = 1_000
_BLOCKS = ("each", "if", "unless", "with")

_OPEN = re.compile(r"\\{0,2}(?:\$\{\{(?!\{)|\{\{(?:\{\{)?)")
_PLAIN = re.compile(rf"\{{\{{\s*({IDENTIFIER}(?:\.{IDENTIFIER})*)\s*\}}\}}(?!\}})")
_NOT_PLAIN = re.compile(r"(?:this|else|true|false|null|undefined|-?[0-9]+(?:\.[0-9]+)?)(?:[.]|$)")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|"""
_TAG_END = re.compile(_QUOTED + r"\[[^\[\]{}]*\]|(~?)\}\}", re.DOTALL)
_TRIPLE_END = re.compile(_QUOTED + r"\[[^\[\]{}]*\]|\}(~?)\}\}", re.DOTALL)
_EXPRESSION_END = re.compile(_QUOTED + r"()\}\}", re.DOTALL)
_COMMENT_END = re.compile(r"(~?)\}\}")
_LONG_COMMENT_END = re.compile(r"--(~?)\}\}")
_LINE_END = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_RAW = re.compile(r"\{\{\{\{\s*(/?)\s*([\w-]*)\s*\}\}\}\}")
_HEAD = re.compile(r"\s*([^\s(]+)")
_ELSE = re.compile(r"\s*(?:else(?!\S)|\^)\s*")
_NAMES = re.compile(r"\bas\s*\|\s*([\w-]+)(?:\s+([\w-]+))?\s*\|\s*$")


@dataclass(slots=True)
class _Block:
    """A block that is not closed yet."""

    kind: str
    offset: int
    outer: list[Node]
    value: Value | None = None
    names: tuple[str, ...] = ()
    chained: bool = False
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] | None = None

    def node(self) -> Node:
        """Make the node."""
        body, otherwise = tuple(self.body), tuple(self.otherwise or ())
        value = self.value or Constant(None)
        if self.kind == "each":
            return Each(value, self.names, body, otherwise)
        if self.kind == "with":
            return With(value, self.names, body, otherwise)
        return If(value, self.kind == "unless", body, otherwise)


class Parser:
    """Goes through a template once, from tag to tag.

    Args:
        source: The template's text.

    Attributes:
        nodes: The nodes of the innermost open block; of the template, when :meth:`run` is done.
        partials: The bodies of the inline partials.
        used: The partials that are used, and where.
    """

    def __init__(self, source: str) -> None:
        self.nodes: list[Node] = []
        self.partials: dict[str, Body] = {}
        self.used: list[tuple[str, int]] = []
        self._source = source
        self._start = 0  # where the text that is not written yet starts
        self._strip = False  # the tag before it ended with `~`
        self._blocks: list[_Block] = []

    def run(self) -> None:
        """Parse the whole template.

        Raises:
            ExpressionError: A tag is malformed or not closed, or names a helper or block that does not exist.
        """
        source, search = self._source, _OPEN.search
        while (match := search(source, self._start)) is not None:
            begin, opening = match.start(), match[0]
            if opening[0] == "\\":
                # `\{{` is two braces; `\\{{` is a backslash and a tag.
                backslashes = 2 if opening.startswith("\\\\") else 1
                self._text(begin + backslashes - 1)
                if backslashes == 1:
                    end = match.end()
                    self.nodes.append(Text(source[begin + 1 : end]))
                    self._start = end
                    continue
                self._start = begin = begin + 2
                opening = opening[2:]
            if opening[0] == "$":
                self._expression(begin)
            elif len(opening) == 4:
                self._raw(begin)
            elif (plain := _PLAIN.match(source, begin)) and not _NOT_PLAIN.match(plain[1]):
                self._text(begin)
                self.nodes.append(Output(make_path(plain[1], plain.start(1))))
                self._start = plain.end()
            else:
                self._tag(begin)
        self._text(len(source))
        if self._blocks:
            block = self._blocks[-1]
            raise ExpressionError(f"'#{block.kind}' is not closed; '{{{{/{block.kind}}}}}' is missing", block.offset)

    def _text(self, end: int, *, strip: bool = False, alone: bool = False) -> None:
        """Write the text up to a tag, without the white space that the tags at its ends take away."""
        text = self._source[self._start : end]
        if self._strip:
            text = text.lstrip()
            self._strip = False
        if strip:
            text = text.rstrip()
        elif alone:
            text = text.rstrip(" \t")
        if text:
            self.nodes.append(Text(text))

    def _expression(self, begin: int) -> None:
        inside = begin + 3
        end = self._end(_EXPRESSION_END, inside, begin)
        try:
            expression = expressions.parse(self._source[inside : end.start()])
        except ExpressionError as error:
            raise ExpressionError(str(error), inside + (error.offset or 0)) from None
        self._text(begin)
        self.nodes.append(Embedded(expression, inside))
        self._start = end.end()

    def _raw(self, begin: int) -> None:
        opening = _RAW.match(self._source, begin)
        if opening is None or opening[1] or opening[2] != "raw":
            raise ExpressionError("four braces open a raw block: write '{{{{raw}}}}'", begin)
        for closing in _RAW.finditer(self._source, opening.end()):
            if closing[1] and closing[2] == "raw":
                self._text(begin)
                self.nodes.append(Text(self._source[opening.end() : closing.start()]))
                self._start = closing.end()
                return
        raise ExpressionError("'{{{{raw}}}}' is not closed; '{{{{/raw}}}}' is missing", begin)

    def _end(self, pattern: re.Pattern[str], inside: int, begin: int) -> re.Match[str]:
        """Find the braces that close a tag; those in quoted text do not."""
        # Quotes that nothing closes make the search quadratic, so only comments may be of any length.
        is_comment = pattern in (_COMMENT_END, _LONG_COMMENT_END)
        for match in pattern.finditer(self._source, inside, len(self._source) if is_comment else inside + _MAX_TAG):
            if match[1] is not None:
                return match
        raise ExpressionError(f"{self._source[begin : begin + 20]!r} is not closed; '}}}}' is missing", begin)

    def _tag(self, begin: int) -> None:
        source, inside = self._source, begin + 2
        strip = source.startswith("~", inside)
        inside += strip
        sign = source[inside : inside + 1]
        if sign == "!":
            end = self._end(_LONG_COMMENT_END if source.startswith("!--", inside) else _COMMENT_END, inside, begin)
        else:
            end = self._end(_TRIPLE_END if sign == "{" else _TAG_END, inside, begin)
        content = source[inside : end.start()]
        otherwise = _ELSE.match(content)
        alone = (sign in ("#", "/", ">", "!") or otherwise is not None) and self._is_alone(begin, end.end())
        self._text(begin, strip=strip, alone=alone and sign != ">")
        self._start, self._strip = end.end(), bool(end[1])
        if alone and (line_end := _LINE_END.match(source, self._start)):
            self._start = line_end.end()
        if sign == "#":
            self._open(content[1:], inside + 1, begin)
        elif sign == "/":
            self._close(content[1:].strip(), begin)
        elif sign == ">":
            self._partial(content[1:], inside + 1)
        elif otherwise is not None:
            self._otherwise(content[otherwise.end() :], inside + otherwise.end(), begin)
        elif sign != "!":
            skip = sign in ("&", "{")
            self._output(content[skip:], inside + skip)

    def _is_alone(self, begin: int, end: int) -> bool:
        """Tell whether a tag has its lines for itself; then they leave nothing behind."""
        start = max(0, begin - _MAX_INDENT)
        before = self._source[start:begin].rstrip(" \t")
        first = before.endswith("\n") or (not before and start == 0)
        return first and _LINE_END.match(self._source, end) is not None

    def _output(self, content: str, offset: int) -> None:
        values = read_values(content, offset)
        if not values:
            raise ExpressionError("the tag is empty; write the name of a value", offset)
        value = values[0] if len(values) == 1 else call(values, offset)
        if isinstance(value, Constant):
            raise ExpressionError(f"{content.strip()} is a literal; write the name of a value", offset)
        self.nodes.append(Output(value))

    def _open(self, content: str, offset: int, begin: int) -> None:
        head = _HEAD.match(content)
        kind = head[1] if head else ""
        rest, start = content[head.end() if head else 0 :], offset + (head.end() if head else 0)
        if kind == "*inline":
            values = read_values(rest, start)
            if len(values) != 1 or not isinstance(values[0], Constant):
                raise ExpressionError("'#*inline' takes the partial's name in quotes", begin)
            self._push(_Block("inline", begin, self.nodes, names=(str(values[0].value),)))
            return
        if kind not in _BLOCKS:
            near = nearest(kind, _BLOCKS)
            hint = f"did you mean '#{near}'?" if near else f"there are {', '.join('#' + name for name in _BLOCKS)}"
            raise ExpressionError(f"unknown block '#{kind}'; {hint}", begin)
        names: tuple[str, ...] = ()
        if kind in ("each", "with") and (named := _NAMES.search(rest)):
            names, rest = tuple(name for name in named.groups() if name), rest[: named.start()]
        values = read_values(rest, start)
        if len(values) != 1:
            hint = "; put a helper in parentheses, as in (eq a b)" if len(values) > 1 else ""
            raise ExpressionError(f"'#{kind}' takes one value, got {len(values)}{hint}", begin)
        self._push(_Block(kind, begin, self.nodes, values[0], names))

    def _push(self, block: _Block) -> None:
        self._blocks.append(block)
        if len(self._blocks) > _MAX_NESTING:
            raise ExpressionError(f"blocks are nested more than {_MAX_NESTING} levels deep", block.offset)
        self.nodes = block.body

    def _otherwise(self, content: str, offset: int, begin: int) -> None:
        if not self._blocks or self._blocks[-1].kind == "inline":
            raise ExpressionError("'else' stands in no block", begin)
        block = self._blocks[-1]
        if block.otherwise is not None:
            raise ExpressionError(f"'#{block.kind}' has a second 'else'", begin)
        self.nodes = block.otherwise = []
        if content.strip():
            self._open(content, offset, begin)
            self._blocks[-1].chained = True

    def _close(self, kind: str, begin: int) -> None:
        while self._blocks:
            block = self._blocks.pop()
            if not block.chained and block.kind != kind:
                raise ExpressionError(f"'{{{{/{kind}}}}}' closes nothing here; '#{block.kind}' is still open", begin)
            self.nodes = block.outer
            if block.kind == "inline":
                self.partials[block.names[0]] = tuple(block.body)
            else:
                self.nodes.append(block.node())
            if not block.chained:
                return
        raise ExpressionError(f"'{{{{/{kind}}}}}' closes nothing: no block is open", begin)

    def _partial(self, content: str, offset: int) -> None:
        head = _HEAD.match(content)
        if head is None:
            raise ExpressionError("'>' needs the name of a partial", offset)
        values = read_values(content[head.end() :], offset + head.end())
        if len(values) > 1:
            raise ExpressionError(f"a partial takes one value, got {len(values)}", offset)
        name = head[1].strip("'\"")
        self.used.append((name, offset + head.start(1)))
        self.nodes.append(Partial(name, values[0] if values else None))

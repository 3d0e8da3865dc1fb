"""Handlebars: from a template's text to a :class:`Program` that renders it.

The subset that prompts need, with JSON's rules for text and no HTML escaping, and ``${{ expressions }}`` in between, so that
one pass fills in both. Written here and not taken from a library, because values must come out exactly as they went in and a
field that fills in three names must cost microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.spelling import nearest
from airflow_llm_provider.workflow.blocks import Body, Embedded, Output, Text, Visit, Writer, render
from airflow_llm_provider.workflow.handlebars_parser import Parser
from airflow_llm_provider.workflow.mustaches import Scope
from airflow_llm_provider.workflow.syntax import Limited, Reference, Resolver

__all__ = ["MAX_SOURCE", "Program", "parse"]

MAX_SOURCE = 1_000_000
"""Most characters that a template may have."""


@dataclass(frozen=True, slots=True)
class Program:
    """A parsed template.

    Attributes:
        body: Its nodes.
        references: Every name it uses that reaches the root, where it stands in the source.
        only: The one tag it consists of, if there is nothing around that tag but white space.
    """

    body: Body
    references: tuple[Reference, ...]
    only: Output | Embedded | None
    _partials: dict[str, Body] = field(repr=False)

    def render(self, resolve: Resolver) -> str:
        """Render the template as text.

        Args:
            resolve: Gives the value of a path at the root, None where there is none.

        Raises:
            ExpressionError: An expression in it cannot be evaluated, or the text would be too long.
        """
        limited = Limited(resolve)
        writer = Writer(self._partials, limited.check)
        try:
            render(self.body, Scope(limited), writer)
        except RecursionError:
            raise ExpressionError("a value in the template is nested too deep") from None
        return writer.text()

    def value(self, resolve: Resolver) -> object:
        """Give the value of the only tag as it is; the text, if the template is more than one tag."""
        if isinstance(self.only, Embedded):
            return self.only.evaluate(Scope(resolve))
        return self.only.value.evaluate(Scope(resolve)) if self.only else self.render(resolve)


@lru_cache(maxsize=4096)
def parse(source: str) -> Program:
    """Parse a template.

    Args:
        source: Its text, at most :data:`MAX_SOURCE` characters.

    Raises:
        ExpressionError: A tag is malformed, not closed, or names a helper, block or partial that does not exist.
    """
    if len(source) > MAX_SOURCE:
        raise ExpressionError(f"the template is longer than {MAX_SOURCE:,} characters", MAX_SOURCE)
    parser = Parser(source)
    parser.run()
    for name, offset in parser.used:
        if name not in parser.partials:
            near = nearest(name, parser.partials)
            hint = f"did you mean {near!r}?" if near else f'define it with {{{{#*inline "{name}"}}}}'
            raise ExpressionError(f"unknown partial {name!r}; {hint}", offset)
    body = tuple(parser.nodes)
    visit = Visit(parser.partials)
    try:
        visit.body(body, ())
    except RecursionError:
        raise ExpressionError("the template's partials are nested too deep", 0) from None
    tags = [node for node in body if not (isinstance(node, Text) and node.text.isspace())]
    only = tags[0] if len(tags) == 1 and isinstance(tags[0], (Output, Embedded)) else None
    return Program(body, tuple(visit.found), only, parser.partials)

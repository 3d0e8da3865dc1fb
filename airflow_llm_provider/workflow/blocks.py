"""The parts of a parsed Handlebars template, and how each is rendered.

Values are written out as they come and never looked at again, so nothing in them can act as a template. How much is written,
and how often a loop turns, is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.expressions import Expression
from airflow_llm_provider.workflow.functions import MAX_TEXT
from airflow_llm_provider.workflow.mustaches import Levels, Scope, Value
from airflow_llm_provider.workflow.syntax import Reference
from airflow_llm_provider.workflow.values import to_text, truthy

__all__ = ["Body", "Each", "Embedded", "If", "Node", "Output", "Partial", "Text", "Visit", "With", "Writer", "render"]

_MAX_STEPS = 1_000_000
_MAX_PARTIALS = 50


@dataclass(slots=True)
class Writer:
    """Where a template is rendered to.

    Attributes:
        partials: The bodies of the template's inline partials.
        check_time: Raises an error when rendering takes too long.
    """

    partials: Mapping[str, Body]
    check_time: Callable[[], None]
    _parts: list[str] = field(default_factory=list)
    _size: int = 0
    _steps: int = 0
    _depth: int = 0

    def write(self, text: str) -> None:
        """Add text."""
        self._size += len(text)
        if self._size > MAX_TEXT:
            raise ExpressionError(f"the rendered text is longer than {MAX_TEXT:,} characters")
        self._parts.append(text)

    def count(self) -> None:
        """Count one turn of a loop, or one use of a partial."""
        self.check_time()
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise ExpressionError(f"the loops of the template turn more than {_MAX_STEPS:,} times")

    def enter(self, name: str) -> None:
        """Go into a partial."""
        self.count()
        self._depth += 1
        if self._depth > _MAX_PARTIALS:
            raise ExpressionError(f"partial {name!r} is used inside itself more than {_MAX_PARTIALS} levels deep")

    def leave(self) -> None:
        """Come back from a partial."""
        self._depth -= 1

    def text(self) -> str:
        """Give all that was written."""
        return "".join(self._parts)


@dataclass(slots=True)
class Visit:
    """Collects the references of a template that reach the root.

    Attributes:
        partials: The bodies of the template's inline partials.
        found: The references so far.
    """

    partials: Mapping[str, Body]
    found: list[Reference] = field(default_factory=list)
    _active: set[tuple[str, Levels]] = field(default_factory=set)

    def body(self, body: Body, levels: Levels) -> None:
        """Visit each node."""
        for node in body:
            node.visit(levels, self)

    def partial(self, name: str, levels: Levels) -> None:
        """Visit a partial as it is where it is used; once for each such place, for it may use itself."""
        # A deeper place in the same loop says nothing new.
        place = (name, levels[:3])
        if place not in self._active:
            self._active.add(place)
            self.body(self.partials[name], levels)


class Node:
    """A part of a template."""

    __slots__ = ()

    def render(self, scope: Scope, writer: Writer) -> None:
        """Write what the part stands for."""
        raise NotImplementedError

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Collect the references."""


Body = tuple[Node, ...]


def render(body: Body, scope: Scope, writer: Writer) -> None:
    """Render nodes one after the other."""
    for node in body:
        node.render(scope, writer)


@dataclass(frozen=True, slots=True)
class Text(Node):
    """Text between tags."""

    text: str

    def render(self, scope: Scope, writer: Writer) -> None:
        """Write the text."""
        writer.write(self.text)


@dataclass(frozen=True, slots=True)
class Output(Node):
    """``{{ value }}``."""

    value: Value

    def render(self, scope: Scope, writer: Writer) -> None:
        """Write the value as text."""
        writer.write(to_text(self.value.evaluate(scope)))

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Collect the value's references."""
        self.value.visit(levels, visit.found)


@dataclass(frozen=True, slots=True)
class Embedded(Node):
    """``${{ expression }}``, which always means the root's names, wherever it stands.

    Attributes:
        expression: The expression.
        offset: Where it starts in the template.
    """

    expression: Expression
    offset: int

    def evaluate(self, scope: Scope) -> object:
        """Compute the expression's value; an error tells its place in the template."""
        try:
            return self.expression.evaluate(scope.resolve)
        except ExpressionError as error:
            offset = None if error.offset is None else error.offset + self.offset
            raise ExpressionError(str(error), offset) from None

    def render(self, scope: Scope, writer: Writer) -> None:
        """Write the expression's value as text."""
        writer.write(to_text(self.evaluate(scope)))

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Add the expression's references."""
        visit.found += [Reference(one.path, one.offset + self.offset) for one in self.expression.references]


@dataclass(frozen=True, slots=True)
class If(Node):
    """``#if``, and ``#unless`` with ``negated``."""

    condition: Value
    negated: bool
    body: Body
    otherwise: Body

    def render(self, scope: Scope, writer: Writer) -> None:
        """Render one of the two bodies."""
        chosen = truthy(self.condition.evaluate(scope)) is not self.negated
        render(self.body if chosen else self.otherwise, scope, writer)

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Visit the condition and both bodies."""
        self.condition.visit(levels, visit.found)
        visit.body(self.body, levels)
        visit.body(self.otherwise, levels)


@dataclass(frozen=True, slots=True)
class Each(Node):
    """``#each``, over a list or an object."""

    items: Value
    names: tuple[str, ...]
    body: Body
    otherwise: Body

    def render(self, scope: Scope, writer: Writer) -> None:
        """Render the body for each item, or the other body if there is none."""
        value = self.items.evaluate(scope)
        pairs: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            pairs = list(value.items())
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        if not pairs:
            render(self.otherwise, scope, writer)
        last = len(pairs) - 1
        for index, (key, item) in enumerate(pairs):
            writer.count()
            data = {"index": index, "key": key, "first": index == 0, "last": index == last}
            render(
                self.body,
                Scope(scope.resolve, item, scope, dict(zip(self.names, (item, key), strict=False)), data),
                writer,
            )

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Visit the collection and both bodies."""
        self.items.visit(levels, visit.found)
        visit.body(self.body, (*levels, frozenset(self.names)))
        visit.body(self.otherwise, levels)


@dataclass(frozen=True, slots=True)
class With(Node):
    """``#with``."""

    value: Value
    names: tuple[str, ...]
    body: Body
    otherwise: Body

    def render(self, scope: Scope, writer: Writer) -> None:
        """Render the body with the value at hand, or the other body if it is falsy."""
        value = self.value.evaluate(scope)
        if truthy(value):
            render(self.body, Scope(scope.resolve, value, scope, dict(zip(self.names, (value,), strict=False))), writer)
        else:
            render(self.otherwise, scope, writer)

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Visit the value and both bodies."""
        self.value.visit(levels, visit.found)
        visit.body(self.body, (*levels, frozenset(self.names)))
        visit.body(self.otherwise, levels)


@dataclass(frozen=True, slots=True)
class Partial(Node):
    """``{{> name}}``, with the item that the partial is about if one is given."""

    name: str
    context: Value | None

    def render(self, scope: Scope, writer: Writer) -> None:
        """Render the partial's body."""
        if self.context is not None:
            scope = Scope(scope.resolve, self.context.evaluate(scope), scope)
        writer.enter(self.name)
        render(writer.partials[self.name], scope, writer)
        writer.leave()

    def visit(self, levels: Levels, visit: Visit) -> None:
        """Visit the context, and the partial's body as it is here."""
        if self.context is not None:
            self.context.visit(levels, visit.found)
            levels = (*levels, frozenset())
        visit.partial(self.name, levels)

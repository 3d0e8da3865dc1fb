"""Templates as the rest of the package sees them: text with ``{{ }}`` and ``${{ }}``, alone or inside lists and objects.

A text that is nothing but one ``{{ path }}`` or one ``${{ expression }}`` keeps the JSON type of its value; any other template
gives text. Rendering is one pass: what was filled in is data, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from airflow_llm_provider.workflow import handlebars
from airflow_llm_provider.workflow.blocks import Output
from airflow_llm_provider.workflow.handlebars import Program
from airflow_llm_provider.workflow.mustaches import PathValue
from airflow_llm_provider.workflow.syntax import Reference, Resolver

__all__ = ["Template", "is_template", "parse_template", "render", "walk_texts"]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text.

    Attributes:
        program: The parsed Handlebars.
        keeps_type: Whether rendering gives the value itself instead of text.
    """

    program: Program
    keeps_type: bool

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every name of the workflow that the text uses."""
        return self.program.references

    def render(self, resolve: Resolver) -> object:
        """Fill the text in.

        Args:
            resolve: Gives the value of a path, None where there is none.

        Returns:
            The value itself if the text is one tag only, text otherwise.

        Raises:
            ExpressionError: An expression in it cannot be evaluated, or the text would be too long.
        """
        return self.program.value(resolve) if self.keeps_type else self.program.render(resolve)


def is_template(text: str) -> bool:
    """Tell whether a text has anything to fill in."""
    return "{{" in text


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Parse a text.

    Args:
        text: Text with any number of tags, none included.

    Raises:
        ExpressionError: A tag is malformed; the error tells where.
    """
    program = handlebars.parse(text)
    only = program.only
    # A helper gives text, as it does in any Handlebars; an expression is the way to a typed computed value.
    return Template(program, only is not None and (not isinstance(only, Output) or isinstance(only.value, PathValue)))


def walk_texts(value: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Walk over every text in a value, keys of objects aside.

    Args:
        value: Any JSON value.

    Yields:
        The way to the text inside the value, and the text.
    """
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    while waiting:
        location, inner = waiting.pop()
        if isinstance(inner, str):
            yield location, inner
        elif isinstance(inner, dict):
            waiting += [((*location, key), member) for key, member in reversed(inner.items())]
        elif isinstance(inner, (list, tuple)):
            waiting += [((*location, index), item) for index, item in reversed(list(enumerate(inner)))]


def render(value: object, resolve: Resolver) -> object:
    """Fill in every text in a value.

    Args:
        value: Any JSON value. Keys of objects are not templates.
        resolve: Gives the value of a path, None where there is none.

    Returns:
        A new value of the same shape; what is not text is left as it is.

    Raises:
        ExpressionError: A text does not parse or cannot be evaluated.
    """
    if isinstance(value, str):
        return parse_template(value).render(resolve) if is_template(value) else value
    if isinstance(value, dict):
        return {key: render(member, resolve) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item, resolve) for item in value]
    return value

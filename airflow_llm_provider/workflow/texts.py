"""Every text of a step in which references may stand: for edges, for checks, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.model import DocumentPath, Step
from airflow_llm_provider.workflow.names import FAN_OUT_NAMES, Names
from airflow_llm_provider.workflow.syntax import Reference
from airflow_llm_provider.workflow.templates import is_template, parse_template, walk_texts

__all__ = ["SourceText", "step_texts", "value_texts"]


@dataclass(frozen=True, slots=True)
class SourceText:
    """A template, or a condition.

    Attributes:
        source: What is written.
        location: Where it stands in the document.
        names: What a name means there.
        is_condition: Whether the whole is one expression.
    """

    source: str | bool | int | float
    location: DocumentPath
    names: Names
    is_condition: bool = False

    def parse(self) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
        """Give its references, and what it probably does not mean as it is written.

        Raises:
            ExpressionError: It does not parse.
        """
        if self.is_condition:
            condition = parse_condition(self.source, self.names.is_known)
            return condition.references, condition.warnings
        return parse_template(str(self.source)).references, ()


def value_texts(value: object, location: DocumentPath, names: Names) -> Iterator[SourceText]:
    """Walk over every template in a value.

    Args:
        value: Any JSON value.
        location: Where it stands in the document.
        names: What a name means there.
    """
    for inside, text in walk_texts(value):
        if is_template(text):
            yield SourceText(text, location + inside, names)


def step_texts(step: Step, names: Names) -> Iterator[SourceText]:
    """Walk over every template and condition of a step, those of its own template included.

    Args:
        step: The step.
        names: What a name means in it.
    """
    for name, value in step.inputs.items():
        location = step.input_locations.get(name, step.location)
        if name in step.conditions and isinstance(value, (str, bool, int, float)):
            yield SourceText(value, location, names, is_condition=True)
        else:
            yield from value_texts(value, location, names)
    for gate in step.wanted:
        yield SourceText(gate.condition, gate.location, names, is_condition=True)
    if step.template is not None:
        yield from step_texts(step.template, names.with_local(FAN_OUT_NAMES))

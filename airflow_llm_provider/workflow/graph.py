"""Which step waits for which: explicit and implied edges, cycles, and an order to run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.model import DocumentPath, Step, Workflow
from airflow_llm_provider.workflow.names import Names
from airflow_llm_provider.workflow.syntax import Reference
from airflow_llm_provider.workflow.templates import references

__all__ = ["Graph", "StepReference", "step_references"]


@dataclass(frozen=True, slots=True)
class StepReference:
    """A reference that a step makes.

    Attributes:
        reference: The path and where in its text it starts.
        location: Where the text stands in the document.
    """

    reference: Reference
    location: DocumentPath


def step_references(step: Step, names: Names) -> Iterator[StepReference]:
    """Walk over every reference in a step's inputs and conditions, and in those of its template.

    Args:
        step: The step.
        names: The workflow's names, which tell a bare word from a reference in a condition.

    Raises:
        ExpressionError: A text of the step does not parse.
    """
    for name, value in step.inputs.items():
        base = step.input_locations.get(name, step.location)
        if name in step.conditions:
            yield from _in_condition(value, base, names)
            continue
        for inside, reference in references(value):
            yield StepReference(reference, base + inside)
    for gate in step.wanted:
        yield from _in_condition(gate.condition, gate.location, names)
    if step.template is not None:
        yield from step_references(step.template, names.inside_fan_out())


def _in_condition(source: str | bool | int | float, location: DocumentPath, names: Names) -> Iterator[StepReference]:
    for reference in parse_condition(source, names.is_known).references:
        yield StepReference(reference, location)


class Graph:
    """The edges between the steps of one workflow.

    Args:
        workflow: The workflow. Dependencies on unknown ids and texts that do not parse make no edge; the checks report them.

    Attributes:
        explicit: Step id to the ids it names in ``depends_on``.
        implied: Step id to the ids whose outputs it references without naming them.
    """

    def __init__(self, workflow: Workflow) -> None:
        names = Names(workflow)
        self.steps: Mapping[str, Step] = names.steps
        self.explicit: dict[str, tuple[str, ...]] = {}
        self.implied: dict[str, tuple[str, ...]] = {}
        for step in self.steps.values():
            explicit = tuple(dict.fromkeys(other for other in step.depends_on if other in self.steps))
            referenced = dict.fromkeys(_referenced_steps(step, names))
            self.explicit[step.id] = explicit
            self.implied[step.id] = tuple(other for other in referenced if other not in explicit)

    def upstream(self, step_id: str) -> tuple[str, ...]:
        """Give the ids of all steps that a step waits for."""
        return self.explicit[step_id] + self.implied[step_id]

    def order(self) -> list[str]:
        """Give all ids so that each stands behind those it waits for.

        Raises:
            graphlib.CycleError: There is a cycle; :meth:`cycle` spells it out.
        """
        return list(TopologicalSorter({step: self.upstream(step) for step in self.steps}).static_order())

    def cycle(self) -> list[str]:
        """Give one cycle as ids, the first repeated at the end; empty when there is none."""
        try:
            self.order()
        except CycleError as error:
            cycle: list[str] = error.args[1]
            return cycle[::-1]
        return []

    def leaves(self) -> list[str]:
        """Give the ids that no other step waits for, in the file's order."""
        awaited = {other for step in self.steps for other in self.upstream(step)}
        return [step for step in self.steps if step not in awaited]


def _referenced_steps(step: Step, names: Names) -> Iterator[str]:
    walk = step_references(step, names)
    while True:
        try:
            found = next(walk)
        except (StopIteration, ExpressionError):
            return
        target = found.names.locate(found.reference.path)
        if target.step is not None and target.step in names.steps and target.step != step.id:
            yield target.step

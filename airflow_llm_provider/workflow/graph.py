"""Which step waits for which: explicit and implied edges, cycles, and an order to run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.model import Step, Workflow
from airflow_llm_provider.workflow.names import Names
from airflow_llm_provider.workflow.texts import step_texts

__all__ = ["Graph", "referenced_steps"]


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
            referenced = dict.fromkeys(referenced_steps(step, names))
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
        edges = {step_id: (*self.upstream(step_id), *step.after) for step_id, step in self.steps.items()}
        return list(TopologicalSorter(edges).static_order())

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


def referenced_steps(step: Step, names: Names) -> Iterator[str]:
    """Give the ids of the steps that a step's texts refer to, in the texts' order, the same one perhaps several times.

    Args:
        step: The step. A text that does not parse refers to nothing; the checks report it.
        names: The workflow's names.
    """
    for text in step_texts(step, names):
        try:
            references, _ = text.parse()
        except ExpressionError:
            continue
        for reference in references:
            other = text.names.locate(reference.path).step
            if other is not None and other in names.steps and other != step.id:
                yield other

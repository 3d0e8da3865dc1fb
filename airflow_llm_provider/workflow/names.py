"""What a name in a reference means: the table of workflow-language section 2, once for edges, checks and values.

:class:`Names` knows the ids, outputs and inputs of one workflow. It turns a path (``("steps", "a", "score")``) into a
:class:`Target`; whether the target is then drawn as an edge, checked, or looked up in a run is the caller's business.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow_llm_provider.workflow.model import Step, Workflow

__all__ = ["FAN_OUT_NAMES", "STEP_FIELDS", "SYSTEM_FACTS", "WORKFLOW_FACTS", "Names", "Path", "Target"]

Path = tuple[str | int, ...]

STEP_FIELDS = ("state", "error", "metadata", "cost", "tokens", "model", "attempts", "config")
"""What ``tasks.<id>.…`` tells besides ``outputs``."""

SYSTEM_FACTS = ("timestamp", "user", "environment")
"""What ``system.…`` tells."""

FAN_OUT_NAMES = ("item", "index")
"""What exists only inside a fan-out: the item, and its number counted from 0."""

WORKFLOW_FACTS = ("id", "execution_id", "name", "version", "status", "metadata", "outputs", "error", "inputs")
"""What ``workflow.…`` tells."""

TargetKind = Literal[
    "input",  # one input; name is the input's
    "inputs",  # all inputs as one object
    "output",  # one output of a step; name is the output's
    "outputs",  # all outputs of a step as one object
    "field",  # a fact about a step; name is one of STEP_FIELDS
    "workflow",  # a fact about the run; name is id, name, metadata, outputs …
    "result",  # another result of the workflow, inside its `outputs`
    "system",
    "secret",
    "local",  # item, index
    "unknown_step",  # a step of that id does not exist; step is the id
    "unknown_output",  # the step has no such output; step and name say which
    "nothing",  # a root without a member, as in `steps`; name is the root
]


_ROOTS = frozenset({"workflow", "system", "secrets", "steps", "outputs", "tasks"})


@dataclass(frozen=True, slots=True)
class Target:
    """What a path leads to.

    Attributes:
        kind: The sort of thing.
        step: The step's id, for kinds about a step.
        name: The thing's name within its kind.
        rest: What is left of the path, to be followed inside the value.
    """

    kind: TargetKind
    step: str | None = None
    name: str = ""
    rest: Path = ()


class Names:
    """The names of one workflow.

    Args:
        workflow: The workflow.
        in_outputs: Whether the references stand in the workflow's ``outputs`` or ``events``, where they may name its outputs.
    """

    def __init__(self, workflow: Workflow, *, in_outputs: bool = False) -> None:
        self.steps: Mapping[str, Step] = {step.id: step for step in workflow.steps}
        self._inputs = frozenset(item.name for item in workflow.inputs)
        self._results = frozenset(output.name for output in workflow.outputs if in_outputs)
        self._local: frozenset[str] = frozenset()
        self._declaring: dict[str, list[str]] = {}
        for step in self.steps.values():
            for name in step.declared_outputs:
                self._declaring.setdefault(name, []).append(step.id)

    def with_local(self, names: Iterable[str]) -> Names:
        """Give the names at a place where further ones stand for something, such as ``item`` in a fan-out."""
        inside = copy.copy(self)
        inside._local = frozenset(names)
        return inside

    def knowing(self, inputs: Iterable[str]) -> Names:
        """Give the names with further inputs."""
        more = copy.copy(self)
        more._inputs = self._inputs | {*inputs}
        return more

    def steps_declaring(self, output: str) -> list[str]:
        """Give the ids of the steps that declare an output of that name."""
        return self._declaring.get(output, [])

    def is_known(self, name: str) -> bool:
        """Tell whether a bare name stands for something that the file declares or uses as an input."""
        return name in self._local or name in self._inputs or len(self.steps_declaring(name)) == 1

    def locate(self, path: Path) -> Target:
        """Find what a path leads to.

        Args:
            path: The parts of the reference; the first is a text.

        Returns:
            The target. Every path has one: a name that nothing else claims is an input.
        """
        head, rest = str(path[0]), path[1:]
        if head in self._local:
            return Target("local", name=head, rest=rest)
        if head in ("inputs", "input"):
            return Target("input", name=str(rest[0]), rest=rest[1:]) if rest else Target("inputs", name=head)
        if head in _ROOTS and not rest and not self.is_known(head):
            return Target("nothing", name=head)
        if head == "workflow" and rest:
            return self.locate(rest) if rest[0] == "inputs" else Target("workflow", name=str(rest[0]), rest=rest[1:])
        if head == "system" and rest:
            return Target("system", name=str(rest[0]), rest=rest[1:])
        if head == "secrets" and rest:
            return Target("secret", name=str(rest[0]), rest=rest[1:])
        if head in ("steps", "outputs", "tasks") and rest:
            return self._locate_in_steps(head, rest)
        if len(declaring := self.steps_declaring(head)) == 1:
            return Target("output", declaring[0], head, rest)
        return Target("input", name=head, rest=rest)

    def _locate_in_steps(self, root: str, path: Path) -> Target:
        head, rest = str(path[0]), path[1:]
        if root == "outputs" and head in self._results:
            return Target("result", name=head, rest=rest)
        step = self.steps.get(head)
        if step is None:
            if root == "outputs" and len(declaring := self.steps_declaring(head)) == 1:
                return Target("output", declaring[0], head, rest)
            return Target("unknown_step", step=head)
        if root == "tasks":
            return self._locate_in_task(step, rest)
        return self._locate_output(step, rest)

    def _locate_in_task(self, step: Step, path: Path) -> Target:
        if not path:
            return Target("outputs", step.id)
        head, rest = str(path[0]), path[1:]
        if head == "outputs":
            return self._locate_output(step, rest) if rest else Target("outputs", step.id)
        if head in STEP_FIELDS:
            return Target("field", step.id, head, rest)
        return self._locate_output(step, path)

    def _locate_output(self, step: Step, path: Path) -> Target:
        primary = step.primary_output
        if not path:
            return Target("output", step.id, primary)
        head, rest = str(path[0]), path[1:]
        if head in step.outputs:
            return Target("output", step.id, head, rest)
        if head == "output":
            return Target("output", step.id, primary, rest)
        # A primary output may be an object, and then `steps.a.total` means its member.
        return Target("unknown_output", step.id, head, path)

"""``parallel`` and ``branch``: the steps that stand for a group of others.

The group's own steps are ordinary steps of the workflow by the time it runs; a ``parallel`` collects what they gave, and a
``branch`` decides which of them run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.workflow.values import to_text

__all__ = ["Branch", "BranchInputs", "Parallel", "ParallelInputs"]

_AROUND = re.compile(r"^[\s\"'`*]+|[\s\"'`*.!]+$")


class ParallelInputs(Inputs):
    """What the group's steps gave.

    Attributes:
        outputs: Step id to the step's primary output.
    """

    outputs: dict[str, Any]


class Parallel(Executor[ParallelInputs]):
    """Gives the outputs of its steps as one object."""

    outputs: ClassVar[tuple[str, ...]] = ("outputs",)
    Inputs = ParallelInputs

    async def run(self, inputs: ParallelInputs, context: StepContext) -> Mapping[str, Any]:
        """Collect."""
        return {"outputs": inputs.outputs}


class BranchInputs(Inputs):
    """What decides.

    Attributes:
        condition: The value to look for among the cases; as text, without blanks, quotes or a full stop around it, in any case.
        cases: The keys of the branches.
        default: The key taken when none of them is the value; None means that no branch is taken.
    """

    condition: Any
    cases: list[str] = Field(min_length=1)
    default: str | None = None


class Branch(Executor[BranchInputs]):
    """Gives the key of the branch that is taken."""

    outputs: ClassVar[tuple[str, ...]] = ("taken",)
    conditions: ClassVar[frozenset[str]] = frozenset({"condition"})
    Inputs = BranchInputs

    @classmethod
    def gives_text(cls, inputs: Mapping[str, Any]) -> bool:
        """Say that it always does."""
        return True

    async def run(self, inputs: BranchInputs, context: StepContext) -> Mapping[str, Any]:
        """Decide."""
        wanted = _plain(to_text(inputs.condition))
        taken = next((case for case in inputs.cases if _plain(case) == wanted), inputs.default)
        if taken is None:
            known = ", ".join(inputs.cases)
            context.say(f"no branch for {wanted[:80]!r} (there are {known})")
        return {"taken": taken}


def _plain(text: str) -> str:
    # Models like to answer `Safe.` or `"safe"` when they are asked for one word.
    return _AROUND.sub("", text).casefold()

"""``orchestrator:assert``: stop a run whose results are not good enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import AssertionFailed
from airflow_llm_provider.executors.llm import Text
from airflow_llm_provider.workflow.conditions import is_true

__all__ = ["Assert", "AssertInputs"]


class AssertInputs(Inputs):
    """What must hold.

    Attributes:
        condition: What must be true.
        error_message: What to say when it does not hold.
    """

    condition: Any
    error_message: Text = "the condition does not hold"


class Assert(Executor[AssertInputs]):
    """Fails when its condition is false."""

    outputs: ClassVar[tuple[str, ...]] = ("passed",)
    conditions: ClassVar[frozenset[str]] = frozenset({"condition"})
    Inputs = AssertInputs

    async def run(self, inputs: AssertInputs, context: StepContext) -> Mapping[str, Any]:
        """Check.

        Raises:
            AssertionFailed: The condition is false.
        """
        if not is_true(inputs.condition):
            raise AssertionFailed(inputs.error_message)
        return {"passed": True}

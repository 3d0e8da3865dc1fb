"""``orchestrator:approval``: a person decides whether the run goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from airflow_llm_provider.engine.approval import Question
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.errors import ApprovalRejected
from airflow_llm_provider.executors.llm import OptionalText, Text
from airflow_llm_provider.workflow.durations import PositiveDuration

__all__ = ["Approval", "ApprovalInputs"]


class ApprovalInputs(Inputs):
    """What to ask whom.

    Attributes:
        message: The question, in one line.
        details: What is needed to decide, as Markdown.
        approvers: Names of the users who may answer; everybody when empty.
        timeout: Time to wait for an answer, in seconds or with a unit; without it, as long as it takes.
        default: The answer when nobody gives one in time; without it, the step fails then.
        on_reject: Whether a rejection fails the step, or is an output like any other.
    """

    message: Text = Field(validation_alias=AliasChoices("message", "prompt", "subject"), min_length=1)
    details: OptionalText = None
    approvers: list[str] = Field(default_factory=list)
    timeout: Annotated[PositiveDuration, Field(le=365 * 86400)] | None = None
    default: Literal["approve", "reject"] | None = None
    on_reject: Literal["fail", "continue"] = "fail"

    def question(self, step_id: str, secrets: Collection[str]) -> Question:
        """Give what is asked.

        Args:
            step_id: The step that asks.
            secrets: What nobody must read in it.
        """
        default = None if self.default is None else self.default == "approve"
        message, details = hide([self.message, self.details], secrets)
        return Question(step_id, message, details, tuple(self.approvers), self.timeout, default)


class Approval(Executor[ApprovalInputs]):
    """Asks, and waits for the answer: in Airflow without holding a worker, on the command line with a prompt."""

    outputs: ClassVar[tuple[str, ...]] = ("approved", "by", "at", "comment")
    Inputs = ApprovalInputs

    async def run(self, inputs: ApprovalInputs, context: StepContext) -> Mapping[str, Any]:
        """Ask.

        Raises:
            ApprovalRejected: The answer is no, and ``on_reject`` is ``fail``.
        """
        answer = await context.runtime.ask(inputs.question(context.step.id, context.secrets))
        if not answer.approved and inputs.on_reject == "fail":
            said = f": {answer.comment}" if answer.comment else ""
            raise ApprovalRejected(f"{answer.by or 'nobody in time'} rejected {inputs.message!r}{said}")
        return {"approved": answer.approved, "by": answer.by, "at": answer.at, "comment": answer.comment}

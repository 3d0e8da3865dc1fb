"""Asking a person: what the step ``orchestrator:approval`` needs, and whoever can ask gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from airflow_llm_provider.errors import ConfigurationError, StepError

__all__ = ["Answer", "Ask", "PersonNeeded", "Question", "nobody"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a person decides.

    Attributes:
        step_id: The step that asks.
        message: The question.
        details: What is needed to decide, as Markdown.
        approvers: Who may answer; empty for everybody.
        timeout: Seconds to wait for an answer; None for ever.
        default: The answer when nobody gives one in time; None fails the step then.
    """

    step_id: str
    message: str
    details: str | None = None
    approvers: tuple[str, ...] = ()
    timeout: float | None = None
    default: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided.

    Attributes:
        approved: Whether the run may go on.
        by: Who decided; None when time ran out.
        at: When, ISO 8601.
        comment: What else was said.
    """

    approved: bool
    by: str | None = None
    at: str | None = None
    comment: str = ""


class PersonNeeded(StepError):
    """A person is to be asked by whoever runs the step, which is run again with the answer.

    Attributes:
        question: What is to be asked.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(question.message)
        self.question = question


Ask = Callable[[Question], Awaitable[Answer]]
"""Asks a person and waits for the answer."""


async def nobody(question: Question) -> Answer:
    """Refuse to ask, where nobody is there.

    Args:
        question: What would be asked.
    """
    raise ConfigurationError(
        f"step {question.step_id!r} waits for a person; run it in Airflow, or here with --approve {question.step_id}"
    )

"""Asking a person in Airflow: the task waits under *Required Actions*, and holds no worker while it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.errors import ApprovalRejected

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["answer_of", "ask_person"]

APPROVE, REJECT = "Approve", "Reject"


def ask_person(task_id: str, question: Question, context: Context) -> NoReturn:
    """Ask by Airflow's own human-in-the-loop form; the task is resumed in its ``execute_complete``.

    Args:
        task_id: The task that asks.
        question: What is asked.
        context: Airflow's context of the task.
    """
    from airflow.providers.standard.operators.hitl import HITLOperator
    from airflow.sdk import Param

    asking = HITLOperator(
        task_id=task_id,
        subject=question.message,
        body=question.details,
        options=[APPROVE, REJECT],
        defaults=None if question.default is None else APPROVE if question.default else REJECT,
        params={"comment": Param("", type="string", description="What else is to be said.")},
        assigned_users=[{"id": name, "name": name} for name in question.approvers] or None,
        response_timeout=None if question.timeout is None else timedelta(seconds=question.timeout),
    )
    asking.execute(context)
    raise AssertionError("Airflow's operator waits by raising")  # pragma: no cover


def answer_of(question: Question, event: Mapping[str, Any]) -> Answer:
    """Read what a person decided.

    Args:
        question: What was asked.
        event: What Airflow says of the answer.

    Raises:
        ApprovalRejected: Nobody answered in time.
    """
    if "error" in event:
        raise ApprovalRejected(f"nobody answered {question.message!r} in time")
    user = event.get("responded_by_user") or {}
    at = event.get("responded_at")
    return Answer(
        approved=APPROVE in (event.get("chosen_options") or ()),
        by=user.get("name") or user.get("id"),
        at=at.isoformat() if isinstance(at, datetime) else at,
        comment=str((event.get("params_input") or {}).get("comment") or ""),
    )

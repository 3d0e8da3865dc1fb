"""Answers what a workflow asks of people, when it runs on the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from datetime import datetime, timezone

from airflow_llm_provider.cli.progress import Progress
from airflow_llm_provider.cli.run import ALL, user_name
from airflow_llm_provider.engine.approval import Answer, Question, nobody
from airflow_llm_provider.errors import ApprovalRejected

__all__ = ["Approvals"]


class Approvals:
    """Says yes to the steps that were approved beforehand, and asks for all others where somebody can answer.

    Args:
        approved: Ids of those steps, ``*`` for all.
        progress: The display that makes room for a question; None when nobody is to be asked.
    """

    def __init__(self, approved: Collection[str], progress: Progress | None) -> None:
        self._approved, self._progress = approved, progress

    async def __call__(self, question: Question) -> Answer:
        """Answer."""
        now = datetime.now(timezone.utc).isoformat()
        if ALL in self._approved or question.step_id in self._approved:
            return Answer(approved=True, by=user_name(), at=now)
        if self._progress is None or not sys.stdin.isatty():
            return await nobody(question)
        # A prompt blocks, and the other steps go on meanwhile.
        asking = asyncio.to_thread(self._progress.confirm, question.message, question.details)
        try:
            approved = await asyncio.wait_for(asking, question.timeout)
        except asyncio.TimeoutError:
            if question.default is None:
                raise ApprovalRejected(f"nobody answered {question.message!r} in time") from None
            return Answer(approved=question.default, at=now)
        return Answer(approved=approved, by=user_name(), at=now)

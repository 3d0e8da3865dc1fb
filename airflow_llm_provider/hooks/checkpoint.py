"""Answers that a task has paid for, kept in Airflow's own state store until the task is done with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["TaskCheckpoint", "task_checkpoint"]


class TaskCheckpoint:
    """The state store of one task instance, which its later tries have as well, wherever they run.

    Args:
        store: Airflow's accessor.
        is_first_try: Whether nothing can be in it.
    """

    def __init__(self, store: Any, *, is_first_try: bool) -> None:
        self._store = store
        self._is_first_try = is_first_try

    async def get(self, key: str) -> str | None:
        """Give the text of a key."""
        if self._is_first_try:
            return None
        # The accessor talks to the supervisor, and blocks meanwhile.
        found = await asyncio.to_thread(self._store.get, key)
        return None if found is None else str(found)

    async def put(self, key: str, text: str, ttl: float) -> None:
        """Keep a text, as long as Airflow keeps such things (``[state_store] default_retention_days``)."""
        await asyncio.to_thread(self._store.set, key, text)

    async def aclose(self) -> None:
        """Nothing is open."""


def task_checkpoint(context: Context, *, is_resumed: bool = False) -> TaskCheckpoint | None:
    """Give the checkpoint of a running task; None where Airflow has no state store, before 3.3.

    Args:
        context: Airflow's context.
        is_resumed: Whether the task has run before in this try, and waited for something.
    """
    store = context.get("task_state_store")
    is_first_try = context["ti"].try_number == 1 and not is_resumed
    return None if store is None else TaskCheckpoint(store, is_first_try=is_first_try)

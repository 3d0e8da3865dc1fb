"""Answers that a task has paid for, kept until the task is done with: in Airflow's own state store, or in object storage."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_llm_provider.engine.cache import Cache
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_llm_provider.clients.objects import ObjectStore, ObjectUrl
    from airflow_llm_provider.engine.runtime import Runtime

__all__ = ["StorageCheckpoint", "TaskCheckpoint", "task_checkpoint"]

_LARGEST_PART = 256 * 1024 * 1024
"""Bytes of one object of a checkpoint."""


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


class StorageCheckpoint:
    """A folder in object storage, to which each try of one task instance adds objects; its later tries read them all.

    Nothing is deleted: give the bucket a rule for it.

    Args:
        open_store: Gives the storage; blocks.
        folder: The task instance's own folder.
        part: Begins the names of this try's objects.
        interval: Seconds that an answer may wait to be written together with others.
        is_first_try: Whether nothing can be there.
    """

    def __init__(
        self,
        open_store: Callable[[], ObjectStore],
        folder: ObjectUrl,
        part: str,
        interval: float,
        *,
        is_first_try: bool,
    ) -> None:
        self._open_store = open_store
        self._folder = folder
        self._part = part
        self._interval = interval
        self._kept: dict[str, str] | None = {} if is_first_try else None
        self._reading = asyncio.Lock()
        self._waiting: dict[str, str] = {}
        self._written = 0
        self._last = float("-inf")
        self._later: asyncio.Task[None] | None = None

    async def get(self, key: str) -> str | None:
        """Give the text of a key."""
        async with self._reading:
            if self._kept is None:
                self._kept = await asyncio.to_thread(self._read)
        return self._kept.get(key)

    async def put(self, key: str, text: str, ttl: float) -> None:
        """Keep a text: at once, or with those of the next moments."""
        self._waiting[key] = text
        wait = self._last + self._interval - time.monotonic()
        if wait <= 0:
            await self._write()
        elif self._later is None:
            self._later = asyncio.create_task(self._write_later(wait))

    async def aclose(self) -> None:
        """Write what waits."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        await self._write()

    async def _write_later(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._later = None
        await self._write()

    async def _write(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        self._last = time.monotonic()
        self._written += 1
        url = self._folder.below(f"{self._part}-{self._written:06}.json")
        text = json.dumps(waiting, ensure_ascii=False).encode()
        await asyncio.to_thread(lambda: self._open_store().write(url, text, "application/json"))

    def _read(self) -> dict[str, str]:
        store, kept = self._open_store(), {}
        for part in store.objects(self._folder, ""):
            kept.update(json.loads(store.read(self._folder.below(part.path), _LARGEST_PART)))
        return kept


def task_checkpoint(context: Context, runtime: Runtime, *, is_resumed: bool = False) -> Cache | None:
    """Give the checkpoint of a running task.

    Args:
        context: Airflow's context.
        runtime: The task's; its settings say where the checkpoint is.
        is_resumed: Whether the task has run before in this try, and waited for something.

    Returns:
        The checkpoint; None where the settings want none, or Airflow has no state store, before 3.3.

    Raises:
        ConfigurationError: ``fault_tolerance.checkpoint.storage`` is no place.
    """
    wanted, ti = runtime.settings.checkpoint, context["ti"]
    is_first_try = ti.try_number == 1 and not is_resumed
    if not wanted.enabled:
        return None
    if wanted.storage is None:
        store = context.get("task_state_store")
        return None if store is None else TaskCheckpoint(store, is_first_try=is_first_try)
    from airflow_llm_provider.clients.objects import ObjectUrl

    try:
        root = ObjectUrl.parse(f"file://{wanted.storage}" if wanted.storage.startswith("/") else wanted.storage)
    except ValueError as error:
        raise ConfigurationError(f"'fault_tolerance.checkpoint.storage': {error}") from None
    place = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index))
    folder = root.below("/".join(quote(part, safe="") for part in place))
    return StorageCheckpoint(
        lambda: runtime.object_store(root.scheme),
        folder,
        f"{ti.try_number:03}-{time.time_ns()}",
        wanted.interval,
        is_first_try=is_first_try,
    )

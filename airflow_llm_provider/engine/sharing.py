"""Small pieces of state that several processes change: in Redis for all machines, in a file for the processes of one.

A change is a pure function of the state and the time; it is applied as a whole, and whoever comes next sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.values import from_json, to_json

if TYPE_CHECKING:
    import sqlite3

    from airflow_llm_provider.config.caching import CacheSettings

__all__ = ["Change", "FileState", "RedisState", "SharedState", "open_state"]

ResultT = TypeVar("ResultT")

Change = Callable[["dict[str, Any]", float], "tuple[dict[str, Any], ResultT]"]
"""The state (empty at first) and the time in seconds to the next state and a result."""

KEPT_SECONDS = 3600
"""State that nobody has changed for this long is forgotten, unless it says otherwise."""

PREFIX = "llm-orchestrator:state:"
"""Begins the keys in Redis."""

_PATIENCE = 30
"""Seconds to wait for others who use the file."""


def _is_locked(error: BaseException) -> bool:
    return "locked" in str(error)


class SharedState(Protocol):
    """State by key."""

    async def change(self, key: str, change: Change[ResultT], *, keep: int = KEPT_SECONDS) -> ResultT:
        """Apply a change, and give its result.

        Args:
            key: What is changed.
            change: The change; it may be computed more than once.
            keep: Seconds after which the state is forgotten when nobody changes it.
        """
        ...  # pragma: no cover - protocol

    async def all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Give all states whose keys begin so, by key.

        Args:
            prefix: How they begin.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Give connections back."""
        ...  # pragma: no cover - protocol


class FileState:
    """State in a SQLite file, which all processes of a machine share; not on a network share.

    Args:
        path: The file; made when something is first kept in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def change(self, key: str, change: Change[ResultT], *, keep: int = KEPT_SECONDS) -> ResultT:
        """Apply a change."""
        return await asyncio.to_thread(self._change, key, change, keep)

    async def all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Give all states whose keys begin so."""
        return await asyncio.to_thread(self._all, prefix)

    def _all(self, prefix: str) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        with self._opened() as database:
            found = database.execute(
                "SELECT key, value FROM kept WHERE until > ? AND substr(key, 1, ?) = ? ORDER BY key",
                (time.time(), len(prefix), prefix),
            )
            return {key: from_json(value) for key, value in found}

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        import sqlite3

        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)) as database:
            # SQLite waits for its turn with all but this: of several that make the file at once, the first locks out the others.
            for attempt in Retrying(
                retry=retry_if_exception(_is_locked),
                wait=wait_random(0, 0.05),
                stop=stop_after_delay(_PATIENCE),
                reraise=True,
            ):
                with attempt:
                    database.execute("PRAGMA journal_mode = WAL")
            # A machine that goes down loses its last moments; that is not worth waiting for the disk with every call.
            database.execute("PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT, until REAL)")
            yield database

    def _change(self, key: str, change: Change[ResultT], keep: int) -> ResultT:
        if not self._path.exists():
            state, result = change({}, time.time())
            if not state:
                return result
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            now = time.time()
            found = database.execute("SELECT value FROM kept WHERE key = ? AND until > ?", (key, now)).fetchone()
            before: dict[str, Any] = from_json(found[0]) if found else {}
            state, result = change(before, now)
            if state != before:
                database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (key, to_json(state), now + keep))
            if not before:
                database.execute("DELETE FROM kept WHERE until < ?", (now,))
            database.execute("COMMIT")
            return result

    async def aclose(self) -> None:
        """Nothing is open."""


class RedisState:
    """State in Redis; the time is the server's, so that machines need not agree on theirs.

    Args:
        url: The server, a secret.
        pool_size: Most connections to it.

    Raises:
        ConfigurationError: The client is not installed, or the URL is none.
    """

    def __init__(self, url: str, pool_size: int) -> None:
        from airflow_llm_provider.engine.cache import redis_client

        self._redis = redis_client(url, pool_size=pool_size)
        # Calls of one process wait for each other here, and not for one that has to start again.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def change(self, key: str, change: Change[ResultT], *, keep: int = KEPT_SECONDS) -> ResultT:
        """Apply a change; when another process was faster, to what that one has left."""
        from redis.exceptions import WatchError

        name = PREFIX + key
        async with self._locks[key], self._redis.pipeline(transaction=True) as pipe:
            while True:
                await pipe.watch(name)
                found = await pipe.get(name)
                seconds, microseconds = await pipe.time()
                before: dict[str, Any] = from_json(found) if found else {}
                state, result = change(before, seconds + microseconds / 1e6)
                if state == before:
                    return result
                pipe.multi()
                pipe.set(name, to_json(state), ex=keep)
                try:
                    await pipe.execute()
                except WatchError:
                    continue
                return result

    async def all(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Give all states whose keys begin so."""
        names = sorted([name async for name in self._redis.scan_iter(match=f"{PREFIX}{prefix}*", count=1000)])
        values = await self._redis.mget(names) if names else []
        return {name.removeprefix(PREFIX): from_json(value) for name, value in zip(names, values, strict=True) if value}

    async def aclose(self) -> None:
        """Give connections back."""
        await self._redis.aclose()


def open_state(settings: CacheSettings, folder: Path) -> SharedState:
    """Give the state that the settings ask for.

    Args:
        settings: The section ``cache``.
        folder: Where a file is kept, if there is no Redis.

    Raises:
        ConfigurationError: Redis cannot be used.
    """
    if settings.type == "memory":
        return FileState(folder / "state.sqlite")
    if settings.url is None:
        raise ConfigurationError("'cache.type: redis' needs 'cache.url'")
    return RedisState(settings.url.get_secret_value(), settings.pool_size)

"""Answers that are given again for the same question: kept in the process, or in Redis for all processes."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.caching import CacheSettings

__all__ = ["Cache", "MemoryCache", "RedisCache", "open_cache", "redis_client"]

MOST_ENTRIES = 10_000
"""Answers that a process keeps; the one that was not asked for the longest goes first."""

PREFIX = "llm-orchestrator:answer:"
"""Begins the keys in Redis."""


class Cache(Protocol):
    """Texts by key, each for a time."""

    async def get(self, key: str) -> str | None:
        """Give the text of a key; None when there is none, or its time is over.

        Args:
            key: The key.
        """
        ...  # pragma: no cover - protocol

    async def put(self, key: str, text: str, ttl: float) -> None:
        """Keep a text.

        Args:
            key: Its key.
            text: The text.
            ttl: Seconds to keep it.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Give connections back."""
        ...  # pragma: no cover - protocol


class MemoryCache:
    """Keeps texts as long as the process lives, and no more than :data:`MOST_ENTRIES` of them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def get(self, key: str) -> str | None:
        """Give the text of a key."""
        until, text = self._entries.get(key, (0.0, ""))
        if until <= time.monotonic():
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return text

    async def put(self, key: str, text: str, ttl: float) -> None:
        """Keep a text."""
        self._entries[key] = (time.monotonic() + ttl, text)
        self._entries.move_to_end(key)
        if len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)

    async def aclose(self) -> None:
        """Nothing is open."""


POOL_SECONDS = 30
"""How long a call waits for a connection to Redis."""


def redis_client(url: str, pool_size: int) -> Any:
    """Make a client of Redis.

    Args:
        url: The server (``redis://``, ``rediss://``, ``unix://``), a secret.
        pool_size: Most connections at once.

    Raises:
        ConfigurationError: The package is not installed, or the URL is none.
    """
    try:
        import redis.asyncio
    except ImportError:
        raise ConfigurationError("'cache.type: redis' needs a client; install airflow-llm-provider[redis]") from None
    try:
        # Whoever comes when all connections are in use waits for one.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=pool_size,
            timeout=POOL_SECONDS,
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=5,
        )
        return redis.asyncio.Redis.from_pool(pool)
    except ValueError:
        # The library's text has the URL, which may hold a password.
        raise ConfigurationError("'cache.url' is no URL of a Redis, such as redis://localhost:6379") from None


class RedisCache:
    """Keeps texts in Redis.

    Args:
        url: The server (``redis://``, ``rediss://``, ``unix://``), a secret.
        pool_size: Most connections at once.

    Raises:
        ConfigurationError: The client is not installed, or the URL is none.
    """

    def __init__(self, url: str, pool_size: int) -> None:
        self._redis = redis_client(url, pool_size)

    async def get(self, key: str) -> str | None:
        """Give the text of a key."""
        found: str | None = await self._redis.get(PREFIX + key)
        return found

    async def put(self, key: str, text: str, ttl: float) -> None:
        """Keep a text."""
        await self._redis.set(PREFIX + key, text, px=max(1, round(ttl * 1000)))

    async def aclose(self) -> None:
        """Give connections back."""
        await self._redis.aclose()


_OF_THIS_PROCESS = MemoryCache()


def open_cache(settings: CacheSettings) -> Cache:
    """Give the cache that the settings ask for.

    Args:
        settings: The section ``cache``.

    Raises:
        ConfigurationError: Redis cannot be used.
    """
    if settings.type == "memory" or settings.url is None:
        return _OF_THIS_PROCESS
    return RedisCache(settings.url.get_secret_value(), settings.pool_size)

"""Putting a text into a Redis list or stream, with the error classes of a provider's call."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow_llm_provider.clients.failures import redact
from airflow_llm_provider.clients.packages import missing_package
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    ServiceUnavailable,
    TimeoutError,
)

__all__ = ["append_to_queue"]

SECONDS = 10.0
"""Seconds that the server may be silent."""


async def append_to_queue(url: str, entry: str, *, stream: str | None = None, queue: str | None = None) -> None:
    """Append once.

    Args:
        url: The Redis server. It never appears in an error, for it may hold a password.
        entry: What to append.
        stream: The stream, whose entries have one field ``entry``.
        queue: The list, when there is no stream.

    Raises:
        ConfigurationError: The package redis is not installed, or the URL is none of Redis.
        StepError: The class that fits the failure.
    """
    try:
        from redis import asyncio as redis
        from redis import exceptions
    except ImportError:
        raise missing_package("redis", "redis") from None
    try:
        parts = urlsplit(url)
        where, password = f"{parts.hostname}:{parts.port or 6379}", parts.password or ""
        client = redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    except ValueError:
        raise ConfigurationError("the 'redis_url' cannot be used; write one such as redis://host:6379/0") from None
    try:
        if stream is not None:
            await client.xadd(stream, {"entry": entry})
        else:
            await client.rpush(queue or "", entry)
    except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError) as error:
        raise AuthenticationError(f"{where} refused: {redact(str(error), [password])}") from None
    except exceptions.TimeoutError:
        raise TimeoutError(f"no answer from {where} in time") from None
    except (exceptions.BusyLoadingError, exceptions.ReadOnlyError, exceptions.ClusterDownError) as error:
        raise ServiceUnavailable(f"{where}: {redact(str(error), [password])}") from None
    except exceptions.ConnectionError as error:
        raise ConnectionError(f"the connection to {where} failed ({redact(str(error), [password])})") from None
    except exceptions.RedisError as error:
        raise InvalidRequest(f"{where} refused: {redact(str(error), [password])}") from None
    finally:
        await client.aclose()

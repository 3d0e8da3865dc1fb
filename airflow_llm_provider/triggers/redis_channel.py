"""Messages of a Redis channel at an address, for an asset watcher.

Airflow's own trigger for Redis knows its server by a connection only, and ends with each message, so that those published until it
is started again are lost. This one stays subscribed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_llm_provider.errors import ConfigurationError

__all__ = ["RedisChannelTrigger"]


class RedisChannelTrigger(BaseEventTrigger):
    """Fires for each message that is published in a channel.

    Args:
        url: The server, such as ``redis://cache:6379/0``.
        channel: The channel.
    """

    def __init__(self, url: str, channel: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.url = url
        self.channel = channel

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow makes the trigger again from."""
        path = f"{RedisChannelTrigger.__module__}.{RedisChannelTrigger.__qualname__}"
        return path, {"url": self.url, "channel": self.channel}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for messages; the payload has the form of that of Airflow's own trigger.

        Raises:
            ConfigurationError: The package for Redis is not installed.
        """
        try:
            from redis.asyncio import Redis
        except ImportError:
            raise ConfigurationError("no client for Redis is installed; install airflow-llm-provider[redis]") from None
        async with Redis.from_url(self.url, decode_responses=True) as client, client.pubsub() as subscription:
            await subscription.subscribe(self.channel)
            async for message in subscription.listen():
                if message["type"] == "message":
                    told = {"type": "message", "channel": message["channel"], "data": message["data"]}
                    yield TriggerEvent(told)  # type: ignore[no-untyped-call]

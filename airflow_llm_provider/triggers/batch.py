"""Waits in the triggerer until a provider's batch has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_llm_provider.clients.batch import BatchStatus
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.errors import StepError
from airflow_llm_provider.hooks.runtime import task_runtime

__all__ = ["LLMBatchTrigger"]


_FIRST_WAIT = 5.0
"""Seconds; a small batch may take no longer."""


class LLMBatchTrigger(BaseTrigger):
    """Fires when a batch has ended: how it stands then, or ``{"error": …}`` when it cannot be looked up.

    Args:
        batch_id: The provider's id of the batch.
        provider: Whose it is.
        connection: Airflow connection with the credentials; the provider's default when None.
        base_url: Root of the API, over what the credentials say.
        poll_interval: Most seconds between two looks; the first ones are closer together.
    """

    def __init__(
        self,
        batch_id: str,
        provider: str,
        connection: str | None = None,
        base_url: str | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch_id = batch_id
        self.provider = provider
        self.connection = connection
        self.base_url = base_url
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow makes the trigger again from."""
        return (
            f"{LLMBatchTrigger.__module__}.{LLMBatchTrigger.__qualname__}",
            {
                "batch_id": self.batch_id,
                "provider": self.provider,
                "connection": self.connection,
                "base_url": self.base_url,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; what may pass is only logged."""
        # What is found out of connections and settings blocks, and must not hold up other triggers.
        client = await asyncio.to_thread(self._client)
        told: BatchStatus | None = None
        wait = min(_FIRST_WAIT, self.poll_interval)
        try:
            while True:
                try:
                    status = await client.status(self.batch_id)
                except HOPELESS as error:
                    yield TriggerEvent({"error": f"{type(error).__name__}: {error}"})  # type: ignore[no-untyped-call]
                    return
                except StepError as error:
                    self.log.warning(
                        "batch %s cannot be looked up now: %s: %s", self.batch_id, type(error).__name__, error
                    )
                else:
                    if status != told:
                        done = status.succeeded + status.failed
                        self.log.info(
                            "batch %s: %s, %d of %d questions done", self.batch_id, status.state, done, status.total
                        )
                        told = status
                    if status.state != "running":
                        yield TriggerEvent(asdict(status))  # type: ignore[no-untyped-call]
                        return
                await asyncio.sleep(wait)
                wait = min(2 * wait, self.poll_interval)
        finally:
            await client.aclose()

    async def on_kill(self) -> None:
        """Give the batch up when somebody ends the task; what is answered already is paid, the rest is not."""
        client = await asyncio.to_thread(self._client)
        try:
            await client.cancel(self.batch_id)
        except StepError as error:
            self.log.warning("batch %s cannot be given up: %s: %s", self.batch_id, type(error).__name__, error)
        finally:
            await client.aclose()

    def _client(self) -> Any:
        return task_runtime(self.log).batch(self.provider, self.connection, self.base_url)

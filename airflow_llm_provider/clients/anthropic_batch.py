"""Anthropic's message batches."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from airflow_llm_provider.clients.anthropic import AnthropicClient, message_body, read_message
from airflow_llm_provider.clients.base import ChatRequest, ChatResponse
from airflow_llm_provider.clients.batch import BatchState, BatchStatus, check_ids
from airflow_llm_provider.clients.failures import failure_in_stream
from airflow_llm_provider.errors import InvalidRequest, ServiceUnavailable, StepError

__all__ = ["AnthropicBatch"]

MOST_REQUESTS = 100_000
MOST_BYTES = 256_000_000


class AnthropicBatch(AnthropicClient):
    """A client of ``/v1/messages/batches``. The API keeps no names, so that a batch cannot be found by one."""

    async def submit(self, requests: Mapping[str, ChatRequest], name: str) -> str:
        """Hand questions in; the arguments and errors are those of :meth:`BatchClient.submit`."""
        check_ids(requests, MOST_REQUESTS)
        body = {
            "requests": [
                {"custom_id": request_id, "params": message_body(request)} for request_id, request in requests.items()
            ]
        }
        size = len(json.dumps(body))
        if size > MOST_BYTES:
            raise InvalidRequest(
                f"a batch takes {MOST_BYTES} bytes, and these are {size}; hand the questions in as several"
            )
        batch = await self.call("POST", f"{self._path}/batches", body)
        with self.reading():
            return str(batch["id"])

    async def find(self, name: str, known: Collection[str] = ()) -> str | None:
        """Give None; the arguments are those of :meth:`BatchClient.find`."""
        return None

    async def status(self, batch_id: str) -> BatchStatus:
        """Tell how a batch stands; the arguments and errors are those of :meth:`BatchClient.status`."""
        batch = await self.call("GET", f"{self._path}/batches/{batch_id}")
        with self.reading():
            counts = batch["request_counts"]
            given_up = counts["errored"] + counts["canceled"] + counts["expired"]
            total = counts["processing"] + counts["succeeded"] + given_up
            # What becomes of each question is told with the results.
            state: BatchState = "ended" if batch["processing_status"] == "ended" else "running"
            return BatchStatus(batch_id, state, total, counts["succeeded"], given_up)

    async def results(self, batch_id: str) -> AsyncGenerator[tuple[str, ChatResponse | StepError], None]:
        """Read what came of the questions; the arguments and errors are those of :meth:`BatchClient.results`."""
        # The address that a batch gives for its results is this one; what it says is not followed with a key.
        async for line in self.lines(f"{self._path}/batches/{batch_id}/results"):
            with self.reading():
                result = line["custom_id"], self._result(line["result"])
            yield result

    async def cancel(self, batch_id: str) -> None:
        """Give a batch up; the arguments and errors are those of :meth:`BatchClient.cancel`."""
        await self.call("POST", f"{self._path}/batches/{batch_id}/cancel", {})

    def _result(self, result: Mapping[str, Any]) -> ChatResponse | StepError:
        match result["type"]:
            case "succeeded":
                return read_message(result["message"], "")
            case "errored":
                return failure_in_stream(self.provider, result["error"], self._secrets)
            case kind:
                return ServiceUnavailable(f"{self.provider}: the question was not answered before the batch was {kind}")

"""OpenAI's batch API, and that of whatever copies it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse
from airflow_llm_provider.clients.batch import BatchState, BatchStatus, check_ids
from airflow_llm_provider.clients.failures import failure
from airflow_llm_provider.clients.openai import OpenAIClient, chat_body, read_answer
from airflow_llm_provider.errors import InvalidRequest, ServiceUnavailable, StepError

__all__ = ["OpenAIBatch"]

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000

_DEAD = frozenset({"failed", "expired", "cancelling", "cancelled"})
"""States of a batch that nothing more comes of."""

_ENDPOINT = "/v1/chat/completions"

_STATES: Mapping[str, BatchState] = {
    "completed": "ended",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}


class OpenAIBatch(OpenAIClient):
    """A client of ``/batches`` and ``/files``."""

    async def submit(self, requests: Mapping[str, ChatRequest], name: str) -> str:
        """Hand questions in; the arguments and errors are those of :meth:`BatchClient.submit`."""
        check_ids(requests, MOST_REQUESTS)
        lines = (
            {"custom_id": request_id, "method": "POST", "url": _ENDPOINT, "body": chat_body(request)}
            for request_id, request in requests.items()
        )
        content = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        if len(content) > MOST_BYTES:
            raise InvalidRequest(
                f"a batch takes {MOST_BYTES} bytes, and these are {len(content)}; hand the questions in as several"
            )
        file = await self.upload("/files", {"purpose": "batch"}, "questions.jsonl", content)
        with self.reading():
            file_id = file["id"]
        batch = await self.call(
            "POST",
            "/batches",
            {
                "input_file_id": file_id,
                "endpoint": _ENDPOINT,
                "completion_window": "24h",
                "metadata": {"name": name[:512]},
            },
        )
        with self.reading():
            return str(batch["id"])

    async def find(self, name: str, known: Collection[str] = ()) -> str | None:
        """Find a batch by its name; the arguments and errors are those of :meth:`BatchClient.find`."""
        told = await self.call("GET", "/batches", params={"limit": 100})
        with self.reading():
            for batch in told["data"]:
                is_dead = batch.get("status") in _DEAD or batch["id"] in known
                if (batch.get("metadata") or {}).get("name") == name[:512] and not is_dead:
                    return str(batch["id"])
        return None

    async def status(self, batch_id: str) -> BatchStatus:
        """Tell how a batch stands; the arguments and errors are those of :meth:`BatchClient.status`."""
        batch = await self._batch(batch_id)
        with self.reading():
            counts = batch.get("request_counts") or {}
            errors = (batch.get("errors") or {}).get("data") or []
            return BatchStatus(
                batch_id,
                _STATES.get(batch["status"], "running"),
                counts.get("total") or 0,
                counts.get("completed") or 0,
                counts.get("failed") or 0,
                "; ".join(str(error.get("message")) for error in errors) or None,
            )

    async def results(self, batch_id: str) -> AsyncGenerator[tuple[str, ChatResponse | StepError], None]:
        """Read what came of the questions; the arguments and errors are those of :meth:`BatchClient.results`."""
        batch = await self._batch(batch_id)
        for kind in ("output_file_id", "error_file_id"):
            if batch.get(kind):
                async for line in self.lines(f"/files/{batch[kind]}/content"):
                    with self.reading():
                        result = line["custom_id"], self._result(line)
                    yield result

    async def cancel(self, batch_id: str) -> None:
        """Give a batch up; the arguments and errors are those of :meth:`BatchClient.cancel`."""
        await self.call("POST", f"/batches/{batch_id}/cancel", {})

    async def _batch(self, batch_id: str) -> Mapping[str, Any]:
        batch: Mapping[str, Any] = await self.call("GET", f"/batches/{batch_id}")
        return batch

    def _result(self, line: Mapping[str, Any]) -> ChatResponse | StepError:
        answer, error = line.get("response"), line.get("error")
        if answer is None:
            return ServiceUnavailable(f"{self.provider}: {(error or {}).get('message') or 'no answer'}")
        if answer["status_code"] >= 400:
            return failure(self._base_url.host, answer["status_code"], answer["body"], secrets=self._secrets)
        return read_answer(answer["body"], "")

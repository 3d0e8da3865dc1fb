"""The batch APIs of OpenAI and Anthropic from the server's side.

A batch ends some seconds after it was handed in (``llm-orchestrator simulator --batch-seconds``); its questions are answered then,
by the same rules as others, and each that is answered counts as one that a provider would have charged for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_llm_provider.simulator.failing import refused
from airflow_llm_provider.simulator.wire import CREATED, BadRequestError, Dialect
from airflow_llm_provider.simulator.wire_anthropic import ANTHROPIC
from airflow_llm_provider.simulator.wire_openai import OPENAI

if TYPE_CHECKING:
    from airflow_llm_provider.simulator.app import Simulator

__all__ = ["Batches"]

_NEW = "2024-01-01T00:00:00+00:00"


@dataclass
class _Batch:
    """One batch.

    Attributes:
        id: Its id.
        due: When it ends, on the monotonic clock.
        questions: Id and body of each.
        metadata: What was given beside them.
        results: Status code and body of each answer, by the question's id; None before it has ended.
        cancelled: Whether it was given up before.
    """

    id: str
    due: float
    questions: list[tuple[str, dict[str, Any]]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    results: dict[str, tuple[int, dict[str, Any]]] | None = None
    cancelled: bool = False

    def counts(self) -> tuple[int, int]:
        """Give how many are answered, and how many are refused."""
        codes = [code for code, _ in (self.results or {}).values()]
        return sum(code < 400 for code in codes), sum(code >= 400 for code in codes)


class Batches:
    """All batches.

    Args:
        simulator: Answers the questions.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._batches: dict[str, _Batch] = {}
        self._files: dict[str, bytes] = {}

    def routes(self) -> list[Route]:
        """Give the paths that are served."""
        openai, anthropic = OPENAI, ANTHROPIC
        return [
            self._route("/v1/files", openai, self._upload, "POST"),
            self._route("/v1/files/{id}/content", openai, self._content, "GET"),
            self._route("/v1/batches", openai, self._openai_batches, "GET", "POST"),
            self._route("/v1/batches/{id}", openai, self._openai_batch, "GET"),
            self._route("/v1/batches/{id}/cancel", openai, self._openai_cancel, "POST"),
            self._route("/v1/messages/batches", anthropic, self._anthropic_batches, "GET", "POST"),
            self._route("/v1/messages/batches/{id}", anthropic, self._anthropic_batch, "GET"),
            self._route("/v1/messages/batches/{id}/results", anthropic, self._anthropic_results, "GET"),
            self._route("/v1/messages/batches/{id}/cancel", anthropic, self._anthropic_cancel, "POST"),
        ]

    def _route(
        self, path: str, dialect: Dialect, answer: Callable[[Request], Awaitable[Response]], *methods: str
    ) -> Route:
        async def serve(request: Request) -> Response:
            if dialect.key(request.headers) in (None, "", "invalid"):
                return refused(dialect, 401, "invalid key")
            fault = self._simulator.faults.take(dialect.name, f"{request.method} {request.url.path}")
            if fault is not None:
                return refused(dialect, fault.status or 500, "simulated fault")
            try:
                return await answer(request)
            except KeyError:
                return refused(dialect, 404, f"there is no such thing: {request.url.path}")
            except BadRequestError as error:
                return refused(dialect, 400, str(error))

        return Route(path, serve, methods=methods)

    def _add(self, prefix: str, questions: list[tuple[str, Any]], metadata: Mapping[str, Any] | None = None) -> _Batch:
        names = [name for name, _ in questions]
        if len({*names}) < len(names):
            raise BadRequestError("custom_id must be unique within a batch")
        number = len(self._batches) + 1
        due = time.monotonic() + self._simulator.batch_seconds
        batch = _Batch(f"{prefix}{number:024}", due, questions, metadata or {})
        self._batches[batch.id] = batch
        return batch

    async def _current(self, request: Request, dialect: Dialect) -> _Batch:
        """Give a batch as it stands now."""
        batch = self._batches[request.path_params["id"]]
        if batch.results is None and (batch.cancelled or time.monotonic() >= batch.due):
            batch.results = {}
            for name, body in () if batch.cancelled else batch.questions:
                batch.results[name] = await self._simulator.answer_one(request, dialect, body)
        return batch

    # OpenAI

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            file = form["file"]
            if isinstance(file, str):
                raise BadRequestError("'file' is no file")
            content = await file.read()
        file_id = f"file-{len(self._files) + 1:020}"
        self._files[file_id] = content
        told = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": CREATED,
            "filename": file.filename,
        }
        return JSONResponse({**told, "purpose": "batch", "status": "processed"})

    async def _content(self, request: Request) -> Response:
        return Response(self._files[request.path_params["id"]], media_type="application/octet-stream")

    async def _openai_batches(self, request: Request) -> Response:
        if request.method == "GET":
            found = [self._openai(batch) for batch in reversed(self._batches.values()) if batch.id.startswith("batch_")]
            return JSONResponse(
                {"object": "list", "data": found[: int(request.query_params.get("limit", 20))], "has_more": False}
            )
        body = await request.json()
        lines = self._files[body["input_file_id"]].decode().splitlines()
        try:
            read = [json.loads(line) for line in lines if line]
        except ValueError:
            raise BadRequestError("This line is not parseable as valid JSON.") from None
        batch = self._add("batch_", [(line["custom_id"], line["body"]) for line in read], body.get("metadata"))
        return JSONResponse(self._openai(batch))

    async def _openai_batch(self, request: Request) -> Response:
        return JSONResponse(self._openai(await self._current(request, OPENAI)))

    async def _openai_cancel(self, request: Request) -> Response:
        self._batches[request.path_params["id"]].cancelled = True
        return await self._openai_batch(request)

    def _openai(self, batch: _Batch) -> dict[str, Any]:
        answered, failed = batch.counts()
        files: dict[str, Any] = {"output_file_id": None, "error_file_id": None}
        for kind, wanted in (("output_file_id", True), ("error_file_id", False)):
            lines = [
                {
                    "id": f"batch_req_{name}",
                    "custom_id": name,
                    "response": {"status_code": code, "request_id": f"req_{name}", "body": body},
                    "error": None,
                }
                for name, (code, body) in (batch.results or {}).items()
                if (code < 400) is wanted
            ]
            if lines:
                files[kind] = f"file-{kind}-{batch.id}"
                self._files[files[kind]] = "\n".join(map(json.dumps, reversed(lines))).encode()
        status = "in_progress" if batch.results is None else "cancelled" if batch.cancelled else "completed"
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": None,
            "input_file_id": "file-input",
            "completion_window": "24h",
            "status": status,
            **files,
            "created_at": CREATED,
            "request_counts": {"total": len(batch.questions), "completed": answered, "failed": failed},
            "metadata": dict(batch.metadata),
        }

    # Anthropic

    async def _anthropic_batches(self, request: Request) -> Response:
        if request.method == "GET":
            found = [self._anthropic(request, one) for one in self._batches.values() if one.id.startswith("msgbatch_")]
            return JSONResponse({"data": found, "has_more": False, "first_id": None, "last_id": None})
        body = await request.json()
        questions = [(one["custom_id"], one["params"]) for one in body["requests"]]
        return JSONResponse(self._anthropic(request, self._add("msgbatch_", questions)))

    async def _anthropic_batch(self, request: Request) -> Response:
        return JSONResponse(self._anthropic(request, await self._current(request, ANTHROPIC)))

    async def _anthropic_cancel(self, request: Request) -> Response:
        self._batches[request.path_params["id"]].cancelled = True
        return await self._anthropic_batch(request)

    async def _anthropic_results(self, request: Request) -> Response:
        batch = await self._current(request, ANTHROPIC)
        if batch.results is None:
            raise BadRequestError("the batch has not ended")
        lines = []
        for name, _ in reversed(batch.questions):
            code, body = batch.results.get(name, (0, {}))
            result = {"type": "succeeded", "message": body} if code < 400 else {"type": "errored", "error": body}
            lines.append({"custom_id": name, "result": result if code else {"type": "canceled"}})
        return Response("".join(f"{json.dumps(line)}\n" for line in lines), media_type="application/x-jsonl")

    def _anthropic(self, request: Request, batch: _Batch) -> dict[str, Any]:
        answered, failed = batch.counts()
        ended = batch.results is not None
        rest = len(batch.questions) - answered - failed
        url = f"{request.url.scheme}://{request.url.netloc}/v1/messages/batches/{batch.id}/results"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {
                "processing": 0 if ended else rest,
                "succeeded": answered,
                "errored": failed,
                "canceled": rest if ended else 0,
                "expired": 0,
            },
            "ended_at": _NEW if ended else None,
            "created_at": _NEW,
            "expires_at": "2024-01-02T00:00:00+00:00",
            "archived_at": None,
            "cancel_initiated_at": _NEW if batch.cancelled else None,
            "results_url": url if ended else None,
        }

"""Cohere's chat and embeddings, version 2 of its API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, ClassVar

import httpx

from airflow_llm_provider.clients.base import (
    ChatRequest,
    ChatResponse,
    Credentials,
    EmbeddingRequest,
    EmbeddingResponse,
    Tool,
    Usage,
)
from airflow_llm_provider.clients.http import HttpClient
from airflow_llm_provider.clients.tools import function, message_fields, read_calls
from airflow_llm_provider.clients.vectors import vector
from airflow_llm_provider.errors import ConnectionError, InvalidRequest, ServiceUnavailable, TimeoutError

__all__ = ["CohereChat", "CohereEmbeddings"]

_FINISH_REASONS: Mapping[str, str] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}

_ENDED_BADLY = {"TIMEOUT": TimeoutError, "ERROR": ServiceUnavailable}


class CohereClient(HttpClient):
    """What the clients of Cohere's API share: where it is and who asks."""

    provider: ClassVar[str] = "cohere"
    default_base_url: ClassVar[str] = "https://api.cohere.com"
    api_key_variable: ClassVar[str] = "COHERE_API_KEY"
    base_url_variable: ClassVar[str] = "COHERE_BASE_URL"

    def __init__(self, credentials: Credentials, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(credentials, http)
        # The vendor's SDK takes the address without the version; many write it down with it.
        self._version = "" if self._base_url.path.rstrip("/").endswith("/v2") else "/v2"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        return {"authorization": f"Bearer {key}"}


class CohereChat(CohereClient):
    """A client of ``POST /v2/chat``."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask.

        Raises:
            StepError: The class that fits the failure.
        """
        body = _body(request)
        if request.stream and not request.tools:
            return await self._streamed(body)
        data = await self.post(f"{self._version}/chat", body)
        with self.reading():
            return ChatResponse(
                text="".join(part.get("text") or "" for part in data["message"].get("content") or ()),
                model=request.model,
                usage=_usage(data.get("usage")),
                finish_reason=_finish_reason(data["finish_reason"]),
                id=data.get("id"),
                tool_calls=read_calls(data["message"].get("tool_calls")),
            )

    async def _streamed(self, body: Mapping[str, Any]) -> ChatResponse:
        started = time.perf_counter()
        pieces: list[str] = []
        first: float | None = None
        answer_id: str | None = None
        end: Mapping[str, Any] | None = None
        async with aclosing(self.stream(f"{self._version}/chat", {**body, "stream": True})) as events:
            with self.reading():
                async for event in events:
                    match event.get("type"):
                        case "message-start":
                            answer_id = event.get("id")
                        case "content-delta" if piece := event["delta"]["message"]["content"].get("text"):
                            first = first if first is not None else time.perf_counter() - started
                            pieces.append(piece)
                        case "message-end":
                            end = event["delta"]
        if end is None:
            raise ConnectionError("cohere: the stream broke off before the answer's end")
        with self.reading():
            reason = _finish_reason(end["finish_reason"], end.get("error"))
            return ChatResponse("".join(pieces), body["model"], _usage(end.get("usage")), reason, answer_id, first)


class CohereEmbeddings(CohereClient):
    """A client of ``POST /v2/embed``."""

    most_texts: ClassVar[int] = 96

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Turn texts into vectors in one call.

        Args:
            request: The texts; documents unless it says that they are queries.

        Raises:
            StepError: The class that fits the failure.
        """
        body = {
            "model": request.model,
            "texts": list(request.texts),
            "input_type": f"search_{request.purpose}",
            "embedding_types": ["float"],
            **({} if request.dimensions is None else {"output_dimension": request.dimensions}),
        }
        data = await self.post(f"{self._version}/embed", body)
        with self.reading():
            vectors = tuple(map(vector, data["embeddings"]["float"]))
            if len(vectors) != len(request.texts):
                raise KeyError("float")
            billed = (data.get("meta") or {}).get("billed_units") or {}
            return EmbeddingResponse(vectors, request.model, Usage(int(billed.get("input_tokens") or 0)))


def _body(request: ChatRequest) -> dict[str, Any]:
    optional = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "p": request.top_p,
        "stop_sequences": list(request.stop) or None,
        "seed": request.seed,
        "tools": [function(tool) for tool in _tools(request)] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "response_format": None if request.schema is None else {"type": "json_object", "json_schema": request.schema},
    }
    return {
        "model": request.model,
        "messages": [message_fields(message) for message in request.messages],
        # As the vendor's SDK does.
        "stream": False,
        **{name: value for name, value in optional.items() if value is not None},
        **request.extra,
    }


def _tools(request: ChatRequest) -> tuple[Tool, ...]:
    # The API has no choice by name; the others are kept back.
    chosen = tuple(tool for tool in request.tools if tool.name == request.tool_choice)
    return chosen or request.tools


def _tool_choice(choice: str | None) -> str | None:
    return {None: None, "auto": None, "none": "NONE"}.get(choice, "REQUIRED")


def _finish_reason(reason: str, told: str | None = None) -> str:
    if reason in _ENDED_BADLY:
        raise _ENDED_BADLY[reason](f"cohere ended the answer with {reason}{': ' + told if told else ''}")
    if reason == "ERROR_TOXIC":
        raise InvalidRequest("cohere refused the answer")
    return _FINISH_REASONS.get(reason, reason.lower())


def _usage(data: Mapping[str, Any] | None) -> Usage:
    data = data or {}
    # What is billed leaves out what the API itself adds to the prompt.
    counted = data.get("billed_units") or data.get("tokens") or {}
    return Usage(
        input_tokens=int(counted.get("input_tokens") or 0),
        output_tokens=int(counted.get("output_tokens") or 0),
        cached_tokens=int(data.get("cached_tokens") or 0),
    )

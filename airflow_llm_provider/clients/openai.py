"""OpenAI's chat completions and embeddings, and whatever speaks that API at another address."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, EmbeddingRequest, EmbeddingResponse, Usage
from airflow_llm_provider.clients.http import HttpClient
from airflow_llm_provider.clients.structured import in_words, is_strict
from airflow_llm_provider.clients.tools import function, message_fields, read_calls
from airflow_llm_provider.clients.vectors import vector
from airflow_llm_provider.errors import ConnectionError

__all__ = ["OpenAIChat", "OpenAIClient", "OpenAIEmbeddings", "chat_body", "read_answer"]

_REASONING_MODEL = re.compile(r"^(?:ft:)?(?:o\d|gpt-5)")
"""These refuse ``max_tokens`` and take ``max_completion_tokens``, which servers that copy the API often do not know."""

_WORDS_ONLY = re.compile(r"^(?:ft:)?gpt-(?:3\.5|4(?![.o\d])|4o-2024-05-13)")
"""These do not know ``json_schema``."""


class OpenAIClient(HttpClient):
    """What the clients of OpenAI's API share: where it is and who asks."""

    provider: ClassVar[str] = "openai"
    default_base_url: ClassVar[str] = "https://api.openai.com/v1"
    api_key_variable: ClassVar[str] = "OPENAI_API_KEY"
    base_url_variable: ClassVar[str] = "OPENAI_BASE_URL"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        return {"authorization": f"Bearer {key}"}

    def path(self, operation: str, model: str) -> str:
        """Give the path of an operation below the root of the API.

        Args:
            operation: Such as ``chat/completions``.
            model: The model asked.
        """
        return f"/{operation}"


class OpenAIChat(OpenAIClient):
    """A client of ``POST /chat/completions``."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask.

        Raises:
            StepError: The class that fits the failure.
        """
        body = chat_body(request)
        # The pieces of a call for a tool make no sense before the last has come.
        if request.stream and not request.tools:
            return await self._streamed(body)
        data = await self.post(self.path("chat/completions", request.model), body)
        with self.reading():
            return read_answer(data, request.model)

    async def _streamed(self, body: Mapping[str, Any]) -> ChatResponse:
        started = time.perf_counter()
        pieces: list[str] = []
        first: float | None = None
        model, finish_reason, answer_id, usage = str(body["model"]), None, None, Usage()
        streaming = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with aclosing(self.stream(self.path("chat/completions", model), streaming)) as events:
            with self.reading():
                async for event in events:
                    model, answer_id = event.get("model") or model, event.get("id") or answer_id
                    if event.get("usage"):
                        usage = _usage(event["usage"])
                    for choice in event.get("choices") or ():
                        delta = choice.get("delta") or {}
                        if piece := delta.get("content") or delta.get("refusal"):
                            first = first if first is not None else time.perf_counter() - started
                            pieces.append(piece)
                        finish_reason = choice.get("finish_reason") or finish_reason
        if finish_reason is None:
            raise ConnectionError("openai: the stream broke off before the answer's end")
        return ChatResponse("".join(pieces), model, usage, finish_reason, answer_id, first)


class OpenAIEmbeddings(OpenAIClient):
    """A client of ``POST /embeddings``."""

    # The API takes 2048 texts, but also at most 300,000 tokens, and servers that copy it often take less.
    most_texts: ClassVar[int] = 100

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Turn texts into vectors in one call.

        Args:
            request: The texts.

        Raises:
            StepError: The class that fits the failure.
        """
        body = {
            "model": request.model,
            "input": list(request.texts),
            "encoding_format": "float",
            **({} if request.dimensions is None else {"dimensions": request.dimensions}),
        }
        data = await self.post(self.path("embeddings", request.model), body)
        with self.reading():
            # Gemini's endpoint leaves an index of 0 out.
            found = {item.get("index", place): vector(item["embedding"]) for place, item in enumerate(data["data"])}
            if len(found) != len(data["data"]):
                raise KeyError("index")
            return EmbeddingResponse(
                vectors=tuple(found[index] for index in range(len(request.texts))),
                model=data.get("model") or request.model,
                usage=_usage(data.get("usage")),
            )


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """Write a question as the body of ``POST /chat/completions``, without what streaming adds.

    Args:
        request: The question.
    """
    schema = request.schema
    if schema is not None and _WORDS_ONLY.match(request.model):
        request, schema = in_words(request), None
    limit = "max_completion_tokens" if _REASONING_MODEL.match(request.model) else "max_tokens"
    optional = {
        "temperature": request.temperature,
        limit: request.max_tokens,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "response_format": None if schema is None else _response_format(schema),
        "tools": [function(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
    }
    return {
        "model": request.model,
        "messages": [message_fields(message) for message in request.messages],
        **{name: value for name, value in optional.items() if value is not None},
        **request.extra,
    }


def read_answer(data: Mapping[str, Any], model: str) -> ChatResponse:
    """Read the body of an answer.

    Args:
        data: The body.
        model: The model that was asked, for an answer that names none.
    """
    choice = data["choices"][0]
    return ChatResponse(
        text=choice["message"].get("content") or choice["message"].get("refusal") or "",
        model=data.get("model") or model,
        usage=_usage(data.get("usage")),
        finish_reason=choice.get("finish_reason"),
        id=data.get("id"),
        tool_calls=read_calls(choice["message"].get("tool_calls")),
    )


def _tool_choice(choice: str | None) -> Any:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
    return {"type": "json_schema", "json_schema": asked}


def _usage(data: Mapping[str, Any] | None) -> Usage:
    data = data or {}
    return Usage(
        input_tokens=data.get("prompt_tokens") or 0,
        output_tokens=data.get("completion_tokens") or 0,
        cached_tokens=(data.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(data.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )

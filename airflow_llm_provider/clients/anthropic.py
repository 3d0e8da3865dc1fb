"""Anthropic's messages API."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import httpx

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Credentials, Message, Tool, ToolCall, Usage
from airflow_llm_provider.clients.http import HttpClient
from airflow_llm_provider.clients.structured import in_words, is_strict
from airflow_llm_provider.errors import ConnectionError

__all__ = ["DEFAULT_MAX_TOKENS", "AnthropicChat", "AnthropicClient", "message_body", "read_message"]

DEFAULT_MAX_TOKENS = 1024
"""The API insists on a limit; this one is used when the step names none."""

_WORDS_ONLY = re.compile(r"^claude-(?:instant|[23][.-]|(?:opus|sonnet)-4-(?:0|2025))")
"""These do not know ``output_config``."""

_FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
    "model_context_window_exceeded": "length",
}


class AnthropicClient(HttpClient):
    """What the clients of Anthropic's API share: where it is and who asks."""

    provider: ClassVar[str] = "anthropic"
    default_base_url: ClassVar[str] = "https://api.anthropic.com"
    api_key_variable: ClassVar[str] = "ANTHROPIC_API_KEY"
    base_url_variable: ClassVar[str] = "ANTHROPIC_BASE_URL"

    def __init__(self, credentials: Credentials, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(credentials, http)
        # The vendor's SDK takes the address without the version; many gateways are written down with it.
        self._path = "/messages" if self._base_url.path.rstrip("/").endswith("/v1") else "/v1/messages"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        # The next version, 2026-10-21, refuses `temperature` and `top_p`, which workflow files may set:
        # https://platform.claude.com/docs/en/api/versioning
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}


class AnthropicChat(AnthropicClient):
    """A client of ``POST /v1/messages``."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask.

        Raises:
            StepError: The class that fits the failure.
        """
        body = message_body(request)
        # The pieces of a call for a tool make no sense before the last has come.
        if request.stream and not request.tools:
            return await self._streamed(body)
        data = await self.post(self._path, body)
        with self.reading():
            return read_message(data, request.model)

    async def _streamed(self, body: Mapping[str, Any]) -> ChatResponse:
        started = time.perf_counter()
        pieces: list[str] = []
        first: float | None = None
        message: dict[str, Any] = {}
        usage: dict[str, Any] = {}
        stop_reason: str | None = None
        async with aclosing(self.stream(self._path, {**body, "stream": True})) as events:
            with self.reading():
                async for event in events:
                    match event.get("type"):
                        case "message_start":
                            message = event["message"]
                            usage.update(message.get("usage") or {})
                        case "content_block_delta" if piece := event["delta"].get("text"):
                            first = first if first is not None else time.perf_counter() - started
                            pieces.append(piece)
                        case "message_delta":
                            stop_reason = event["delta"].get("stop_reason") or stop_reason
                            # The counts are cumulative; null means as before.
                            counts = event.get("usage") or {}
                            usage.update((name, count) for name, count in counts.items() if count is not None)
        if stop_reason is None:
            raise ConnectionError("anthropic: the stream broke off before the answer's end")
        return ChatResponse(
            "".join(pieces),
            message.get("model") or str(body["model"]),
            _usage(usage),
            _finish_reason(stop_reason),
            message.get("id"),
            first,
        )


def message_body(request: ChatRequest) -> dict[str, Any]:
    """Write a question as the body of ``POST /v1/messages``, without what streaming adds.

    Args:
        request: The question.
    """
    schema = request.schema
    if schema is not None and (_WORDS_ONLY.match(request.model) or not is_strict(schema)):
        request, schema = in_words(request), None
    optional = {
        "output_config": None if schema is None else {"format": {"type": "json_schema", "schema": schema}},
        "system": _system(request.messages),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": list(request.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
    }
    return {
        "model": request.model,
        "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": _turns(request.messages),
        **{name: value for name, value in optional.items() if value is not None},
        **request.extra,
    }


def read_message(data: Mapping[str, Any], model: str) -> ChatResponse:
    """Read the body of an answer.

    Args:
        data: The body.
        model: The model that was asked, for an answer that names none.
    """
    return ChatResponse(
        text="".join(block["text"] for block in data["content"] if block["type"] == "text"),
        model=data.get("model") or model,
        usage=_usage(data.get("usage")),
        finish_reason=_finish_reason(data.get("stop_reason")),
        id=data.get("id"),
        tool_calls=tuple(
            ToolCall(block["id"], block["name"], block["input"])
            for block in data["content"]
            if block["type"] == "tool_use"
        ),
    )


def _tool(tool: Tool) -> dict[str, Any]:
    described = {} if tool.description is None else {"description": tool.description}
    return {"name": tool.name, **described, "input_schema": tool.parameters}


def _tool_choice(choice: str | None) -> dict[str, str] | None:
    if choice is None:
        return None
    return {"type": {"required": "any"}.get(choice, choice)} if choice in _CHOICES else {"type": "tool", "name": choice}


_CHOICES = ("auto", "none", "required")


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Write the conversation; the results of tools are the user's turn, all of them one."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.role == "tool" and message.tool_call_id is not None:
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            if turns and turns[-1].get("results"):
                turns[-1]["content"].append(result)
            else:
                turns.append({"role": "user", "content": [result], "results": True})
        elif message.tool_calls:
            text = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
            calls = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in message.tool_calls
            ]
            turns.append({"role": "assistant", "content": [*(text if message.content else ()), *calls]})
        else:
            turns.append({"role": message.role, "content": message.content})
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _system(messages: Sequence[Message]) -> str | list[Mapping[str, Any]] | None:
    contents = [message.content for message in messages if message.role == "system"]
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n\n".join(texts) if texts else None
    # Content parts may carry what a text cannot, such as a mark for the cache.
    blocks: list[Mapping[str, Any]] = []
    for content in contents:
        blocks += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return blocks


def _finish_reason(stop_reason: str | None) -> str | None:
    return _FINISH_REASONS.get(stop_reason, stop_reason) if stop_reason else None


def _usage(data: Mapping[str, Any] | None) -> Usage:
    data = data or {}
    cached = data.get("cache_read_input_tokens") or 0
    # Anthropic counts what was read from or written to the cache beside the input, others count it in.
    fresh = (data.get("input_tokens") or 0) + (data.get("cache_creation_input_tokens") or 0)
    return Usage(
        input_tokens=fresh + cached,
        output_tokens=data.get("output_tokens") or 0,
        cached_tokens=cached,
        reasoning_tokens=(data.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )

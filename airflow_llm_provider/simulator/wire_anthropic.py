"""Anthropic's wire format from the server's side: messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_llm_provider.clients.rules import content_text
from airflow_llm_provider.simulator.wire import (
    Answer,
    BadRequestError,
    Dialect,
    bearer,
    check_count,
    check_messages,
    check_temperature,
    identity,
    pieces,
    server_sent_event,
    texts_of,
)

__all__ = ["ANTHROPIC"]


class AnthropicDialect(Dialect):
    """Anthropic's messages."""

    name: ClassVar[str] = "anthropic"
    error_types: ClassVar[Mapping[int, tuple[str, str | None]]] = {
        400: ("invalid_request_error", None),
        401: ("authentication_error", None),
        403: ("permission_error", None),
        404: ("not_found_error", None),
        413: ("request_too_large", None),
        429: ("rate_limit_error", None),
        504: ("timeout_error", None),
        529: ("overloaded_error", None),
    }
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {
        "ContextLengthError": (None, "prompt is too long: "),
        "ContentFilterError": (None, "Output blocked by content filtering policy: "),
    }
    stop_reasons: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens"}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        # The SDKs send the one or the other, by their age.
        return headers.get("x-api-key") or bearer(headers)

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        for name in ("model", "messages", "max_tokens"):
            if body.get(name) is None:
                raise BadRequestError(f"{name}: Field required")
        if not isinstance(body["model"], str) or not body["model"]:
            raise BadRequestError("model: Input should be a valid string")
        version = headers.get("anthropic-version")
        if version is None:
            raise BadRequestError("anthropic-version: header is required")
        if version == "2023-06-01":
            check_messages(body, ("user", "assistant"))
            check_temperature(body, 1)
        else:
            # https://platform.claude.com/docs/en/api/versioning
            check_messages(body, ("user", "assistant", "system"))
            for name in ("temperature", "top_p", "top_k"):
                if name in body:
                    raise BadRequestError(f"{name}: Extra inputs are not permitted")
        check_count(body, "max_tokens")
        if not isinstance(body.get("system"), (str, list, type(None))):
            raise BadRequestError("system: Input should be a valid string or list")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        system = [content_text(body["system"])] if body.get("system") else []
        return system + texts_of(body["messages"])

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        kind, _ = self.error_types.get(status, ("api_error" if status >= 500 else "invalid_request_error", None))
        _, opening = self.refusals.get(error_name, (None, ""))
        return {
            "type": "error",
            "error": {"type": kind, "message": opening + message},
            "request_id": f"req_{uuid.uuid4().hex[:24]}",
        }

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        return {
            **_head(answer),
            "content": [{"type": "text", "text": answer.text}],
            "stop_reason": self.stop_reasons[answer.finish_reason],
            "usage": _usage(answer, answer.output_tokens),
        }

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer as server-sent events."""

        def event(kind: str, **data: Any) -> bytes:
            return server_sent_event({"type": kind, **data}, kind)

        start = {**_head(answer), "content": [], "stop_reason": None, "usage": _usage(answer, 1)}
        yield event("message_start", message=start)
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield event("ping")
        for piece in pieces(answer.text):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        stop = {"stop_reason": self.stop_reasons[answer.finish_reason], "stop_sequence": None}
        yield event("message_delta", delta=stop, usage={"output_tokens": answer.output_tokens})
        yield event("message_stop")

    def limit_headers(self) -> dict[str, str]:
        """Give the rate limit headers of an answer."""
        return {
            "anthropic-ratelimit-requests-limit": "4000",
            "anthropic-ratelimit-requests-remaining": "3999",
            "anthropic-ratelimit-requests-reset": "2030-01-01T00:00:00Z",
            "anthropic-ratelimit-tokens-limit": "400000",
            "anthropic-ratelimit-tokens-remaining": "399000",
            "anthropic-ratelimit-tokens-reset": "2030-01-01T00:00:00Z",
        }


ANTHROPIC = AnthropicDialect()


def _head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{identity(answer)}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "stop_sequence": None,
    }


def _usage(answer: Answer, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }

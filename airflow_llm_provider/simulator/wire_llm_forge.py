"""LLM-Forge's wire format from the server's side: inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_llm_provider.simulator.wire import (
    Answer,
    BadRequestError,
    Dialect,
    bearer,
    check_count,
    check_temperature,
    identity,
)

__all__ = ["LLM_FORGE"]


class LLMForgeDialect(Dialect):
    """LLM-Forge's inference."""

    name: ClassVar[str] = "llm-forge"
    error_types: ClassVar[Mapping[int, tuple[str, str | None]]] = {
        401: ("AuthenticationFailed", None),
        404: ("ModelNotFound", None),
        408: ("Timeout", None),
        429: ("RateLimitExceeded", None),
        503: ("ServiceUnavailable", None),
    }
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {
        "ContextLengthError": ("context_length_exceeded", ""),
        "ContentFilterError": ("content_filter", ""),
    }

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries; it need not carry one."""
        return bearer(headers) or "none"

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        for name in ("model", "prompt"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise BadRequestError(f"{name}: must be a text")
        check_temperature(body, 2)
        check_count(body, "max_tokens")
        if body.get("stream"):
            raise BadRequestError("stream: unknown field")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give the prompt."""
        return [body["prompt"]]

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        kind, _ = self.error_types.get(status, ("InvalidRequest", None))
        refusal, opening = self.refusals.get(error_name, (kind, ""))
        return {"error": {"type": refusal, "message": opening + message}}

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        usage = {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
        metadata = {"finish_reason": answer.finish_reason, "id": identity(answer)}
        return {"text": answer.text, "model": answer.model, "usage": usage, "latency_ms": 1, "metadata": metadata}

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer as a stream, which the API has none of."""
        raise NotImplementedError  # pragma: no cover - `check` refuses it


LLM_FORGE = LLMForgeDialect()

"""OpenAI's wire format from the server's side: chat completions and embeddings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_llm_provider.clients.rules import count_tokens
from airflow_llm_provider.simulator.vectors import made_up_vector
from airflow_llm_provider.simulator.wire import (
    CREATED,
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

__all__ = ["OPENAI", "embeddings"]


class OpenAIDialect(Dialect):
    """OpenAI's chat completions."""

    name: ClassVar[str] = "openai"
    error_types: ClassVar[Mapping[int, tuple[str, str | None]]] = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {
        "ContextLengthError": ("context_length_exceeded", ""),
        "ContentFilterError": ("content_filter", ""),
    }

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        return bearer(headers) or headers.get("api-key")

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise BadRequestError("you must provide a model parameter")
        check_messages(body, ("developer", "system", "user", "assistant", "tool", "function"))
        check_temperature(body, 2)
        check_count(body, "max_tokens")
        check_count(body, "max_completion_tokens")
        for name in ("stream_options", "response_format"):
            if not isinstance(body.get(name), (dict, type(None))):
                raise BadRequestError(f"Invalid type for '{name}': expected an object")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        return texts_of(body["messages"])

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        kind, code = self.error_types.get(status, ("server_error", None))
        refusal, opening = self.refusals.get(error_name, (code, ""))
        return {"error": {"message": opening + message, "type": kind, "param": None, "code": refusal}}

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer as server-sent events."""
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        # With usage asked for, every chunk has the field, and all but the last have null in it.
        head = {**_head(answer, "chat.completion.chunk"), **({"usage": None} if usage else {})}

        def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return server_sent_event({**head, "choices": [choice]})

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in pieces(answer.text):
            yield chunk({"content": piece})
        yield chunk({}, answer.finish_reason)
        if usage:
            yield server_sent_event({**head, "choices": [], "usage": _usage(answer)})
        yield server_sent_event("[DONE]")

    def limit_headers(self) -> dict[str, str]:
        """Give the rate limit headers of an answer."""
        return {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-tokens": "1999000",
            "x-ratelimit-reset-tokens": "30ms",
        }


OPENAI = OpenAIDialect()


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give OpenAI's answer to ``POST /embeddings``: unit vectors that depend on the text and the model only.

    Args:
        body: The request.

    Raises:
        BadRequestError: The request lacks something.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequestError("you must provide a model parameter")
    texts = _inputs(body.get("input"))
    check_count(body, "dimensions", most=3072)
    dimensions = body.get("dimensions") or (3072 if "large" in model else 1536)
    data = []
    for index, text in enumerate(texts):
        vector = made_up_vector(model, text, dimensions)
        packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        embedding: Any = packed if body.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = sum(map(count_tokens, texts))
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _inputs(given: Any) -> list[str]:
    """Give what is to be embedded: a text, texts, one text's tokens, or the tokens of several."""
    if isinstance(given, str) and given:
        return [given]
    if isinstance(given, list) and given:
        if all(type(item) is int for item in given):
            return [str(given)]
        for kind in (str, list):
            if all(isinstance(item, kind) and item for item in given):
                return [str(item) for item in given]
    raise BadRequestError("'$.input' is invalid. Please check the API reference")


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{identity(answer)}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }

"""The providers' wire formats from the server's side: what a request must hold, and what answers and errors look like."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_llm_provider.clients.rules import content_text, count_tokens

__all__ = [
    "ANTHROPIC",
    "MODELS",
    "OPENAI",
    "Answer",
    "BadRequestError",
    "Dialect",
    "embeddings",
    "json_for_schema",
    "pieces",
]

MODELS = (
    "gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "text-embedding-3-small", "text-embedding-3-large",
    "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-6", "claude-haiku-4-5-20251001",
)  # fmt: skip
"""Listed by ``GET /v1/models``; any other model answers too, except those whose name begins with ``missing-``."""

CREATED = 1_700_000_000
"""Seconds since 1970 that everything was made at, so that answers are the same each time."""


class BadRequestError(Exception):
    """The request does not hold what the API insists on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says.

    Attributes:
        model: The model.
        text: Its answer.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        finish_reason: ``stop`` or ``length``.
    """

    model: str
    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: str = "stop"


class Dialect(Protocol):
    """One provider's way of saying things."""

    name: str
    error_types: Mapping[int, tuple[str, str | None]]
    refusals: Mapping[str, tuple[str | None, str]]

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        ...  # pragma: no cover - protocol

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        ...  # pragma: no cover - protocol

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        ...  # pragma: no cover - protocol

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body; what the status alone does not tell is in `refusals`, by the name of our error class."""
        ...  # pragma: no cover - protocol

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        ...  # pragma: no cover - protocol

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[str]:
        """Give an answer as server-sent events."""
        ...  # pragma: no cover - protocol

    def limit_headers(self) -> dict[str, str]:
        """Give the rate limit headers of an answer."""
        ...  # pragma: no cover - protocol


class OpenAIDialect:
    """OpenAI's chat completions."""

    name = "openai"
    error_types: Mapping[int, tuple[str, str | None]] = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
    refusals: Mapping[str, tuple[str | None, str]] = {
        "ContextLengthError": ("context_length_exceeded", ""),
        "ContentFilterError": ("content_filter", ""),
    }

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        return _bearer(headers)

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise BadRequestError("you must provide a model parameter")
        _check_messages(body, ("developer", "system", "user", "assistant", "tool", "function"))
        _check_temperature(body, 2)
        _check_count(body, "max_tokens")
        _check_count(body, "max_completion_tokens")
        for name in ("stream_options", "response_format"):
            if not isinstance(body.get(name), (dict, type(None))):
                raise BadRequestError(f"Invalid type for '{name}': expected an object")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        return _texts(body["messages"])

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        kind, code = self.error_types.get(status, ("server_error", None))
        refusal, opening = self.refusals.get(error_name, (code, ""))
        return {"error": {"message": opening + message, "type": kind, "param": None, "code": refusal}}

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {**_openai_head(answer, "chat.completion"), "choices": [choice], "usage": _openai_usage(answer)}

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[str]:
        """Give an answer as server-sent events."""
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        # With usage asked for, every chunk has the field, and all but the last have null in it.
        head = {**_openai_head(answer, "chat.completion.chunk"), **({"usage": None} if usage else {})}

        def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return _event({**head, "choices": [choice]})

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in pieces(answer.text):
            yield chunk({"content": piece})
        yield chunk({}, answer.finish_reason)
        if usage:
            yield _event({**head, "choices": [], "usage": _openai_usage(answer)})
        yield "data: [DONE]\n\n"

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


class AnthropicDialect:
    """Anthropic's messages."""

    name = "anthropic"
    error_types: Mapping[int, tuple[str, str | None]] = {
        400: ("invalid_request_error", None),
        401: ("authentication_error", None),
        403: ("permission_error", None),
        404: ("not_found_error", None),
        413: ("request_too_large", None),
        429: ("rate_limit_error", None),
        504: ("timeout_error", None),
        529: ("overloaded_error", None),
    }
    refusals: Mapping[str, tuple[str | None, str]] = {
        "ContextLengthError": (None, "prompt is too long: "),
        "ContentFilterError": (None, "Output blocked by content filtering policy: "),
    }
    stop_reasons: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens"}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        # The SDKs send the one or the other, by their age.
        return headers.get("x-api-key") or _bearer(headers)

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
            _check_messages(body, ("user", "assistant"))
            _check_temperature(body, 1)
        else:
            # https://platform.claude.com/docs/en/api/versioning
            _check_messages(body, ("user", "assistant", "system"))
            for name in ("temperature", "top_p", "top_k"):
                if name in body:
                    raise BadRequestError(f"{name}: Extra inputs are not permitted")
        _check_count(body, "max_tokens")
        if not isinstance(body.get("system"), (str, list, type(None))):
            raise BadRequestError("system: Input should be a valid string or list")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        system = [content_text(body["system"])] if body.get("system") else []
        return system + _texts(body["messages"])

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
            **_anthropic_head(answer),
            "content": [{"type": "text", "text": answer.text}],
            "stop_reason": self.stop_reasons[answer.finish_reason],
            "usage": _anthropic_usage(answer, answer.output_tokens),
        }

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[str]:
        """Give an answer as server-sent events."""

        def event(kind: str, **data: Any) -> str:
            return _event({"type": kind, **data}, kind)

        start = {**_anthropic_head(answer), "content": [], "stop_reason": None, "usage": _anthropic_usage(answer, 1)}
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


OPENAI = OpenAIDialect()
ANTHROPIC = AnthropicDialect()


def pieces(text: str) -> Iterator[str]:
    """Cut a text into what a stream sends at a time."""
    for start in range(0, len(text), 12):
        yield text[start : start + 12]


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
    _check_count(body, "dimensions", most=3072)
    dimensions = body.get("dimensions") or (3072 if "large" in model else 1536)
    data = []
    for index, text in enumerate(texts):
        vector = _vector(model, text, dimensions)
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


def json_for_schema(schema: Mapping[str, Any], seed: str = "") -> Any:
    """Make a value that meets a plain JSON Schema.

    Args:
        schema: ``type``, ``enum``, ``const``, ``properties``, ``items`` and bounds are understood.
        seed: Text to fill texts with.
    """
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return {name: json_for_schema(inner, name) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [json_for_schema(schema.get("items", {}), seed)] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return (seed or "text").ljust(schema.get("minLength", 0), ".")


def _vector(model: str, text: str, dimensions: int) -> list[float]:
    stream = hashlib.shake_256(f"{model}\0{text}".encode()).digest(dimensions * 2)
    numbers = [value / 32768 for value in struct.unpack(f"<{dimensions}h", stream)]
    length = sum(number * number for number in numbers) ** 0.5
    # As 32 bit floats, so that both encodings hold the same numbers.
    return list(
        struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(number / length for number in numbers)))
    )


def _check_temperature(body: Mapping[str, Any], most: float) -> None:
    temperature = body.get("temperature")
    if temperature is not None and not (isinstance(temperature, (int, float)) and 0 <= temperature <= most):
        raise BadRequestError(f"temperature: must be between 0 and {most}")


def _check_count(body: Mapping[str, Any], name: str, most: int | None = None) -> None:
    count = body.get(name)
    if count is not None and (type(count) is not int or count < 1 or (most is not None and count > most)):
        raise BadRequestError(f"{name}: must be an integer of at least 1" + (f" and at most {most}" if most else ""))


def _check_messages(body: Mapping[str, Any], roles: tuple[str, ...]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequestError(f"messages.{index}: expected an object")
        if message.get("role") not in roles:
            raise BadRequestError(f"messages.{index}.role: expected one of {', '.join(roles)}")
        if not isinstance(message.get("content"), (str, list, type(None))):
            raise BadRequestError(f"messages.{index}.content: expected a text or a list of content parts")


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    asked = [index for index, message in enumerate(messages) if message["role"] == "user"]
    last = asked[-1] if asked else len(messages) - 1
    texts = [content_text(message.get("content")) for message in messages]
    return texts[:last] + texts[last + 1 :] + [texts[last]]


def _event(data: Mapping[str, Any], name: str | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _openai_head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{_identity(answer)}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _openai_usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _anthropic_head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{_identity(answer)}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "stop_sequence": None,
    }


def _anthropic_usage(answer: Answer, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _identity(answer: Answer) -> str:
    return hashlib.sha256(f"{answer.model}\0{answer.text}\0{answer.input_tokens}".encode()).hexdigest()[:24]

"""Cohere's wire format from the server's side: chat and embeddings of version 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_llm_provider.clients.rules import count_tokens
from airflow_llm_provider.simulator.vectors import made_up_vector
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

__all__ = ["COHERE"]

_MOST_TEXTS = 96
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")


class CohereDialect(Dialect):
    """Cohere's chat and embeddings."""

    name: ClassVar[str] = "cohere"
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {
        "ContextLengthError": (None, "too many tokens: "),
        "ContentFilterError": (None, "blocked by content filtering policy: "),
    }
    finish_reasons: Mapping[str, str] = {"stop": "COMPLETE", "length": "MAX_TOKENS"}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""
        return bearer(headers)

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        if not isinstance(body.get("model"), str) or not body["model"]:
            raise BadRequestError("invalid request: model is required")
        check_messages(body, ("system", "user", "assistant", "tool"))
        check_temperature(body, 1)
        check_count(body, "max_tokens")
        for name in ("top_p", "stop"):
            if name in body:
                raise BadRequestError(f"invalid request: unknown field {name}")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        return texts_of(body["messages"])

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        _, opening = self.refusals.get(error_name, (None, ""))
        return {"message": opening + message}

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        return {
            "id": identity(answer),
            "finish_reason": self.finish_reasons[answer.finish_reason],
            "message": {"role": "assistant", "content": [{"type": "text", "text": answer.text}]},
            "usage": _usage(answer),
        }

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer as server-sent events."""

        def event(kind: str, **data: Any) -> bytes:
            return server_sent_event({"type": kind, **data}, kind)

        yield event("message-start", id=identity(answer), delta={"message": {"role": "assistant", "content": []}})
        yield event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
        for piece in pieces(answer.text):
            yield event("content-delta", index=0, delta={"message": {"content": {"text": piece}}})
        yield event("content-end", index=0)
        end = {"finish_reason": self.finish_reasons[answer.finish_reason], "usage": _usage(answer)}
        yield event("message-end", delta=end)
        yield server_sent_event("[DONE]")

    def embed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Give the answer to ``POST /v2/embed``.

        Raises:
            BadRequestError: The request lacks something.
        """
        texts, model = body.get("texts"), body.get("model")
        if not isinstance(model, str) or not model:
            raise BadRequestError("invalid request: model is required")
        if not isinstance(texts, list) or not 0 < len(texts) <= _MOST_TEXTS:
            raise BadRequestError(f"invalid request: total number of texts must be at most {_MOST_TEXTS}")
        if body.get("input_type") not in _INPUT_TYPES:
            raise BadRequestError("invalid request: valid input_type must be provided with the provided model")
        check_count(body, "output_dimension", most=1536)
        dimensions = body.get("output_dimension") or 1536
        return {
            "id": identity(Answer(model, str(texts), 0, 0)),
            "embeddings": {"float": [made_up_vector(model, text, dimensions) for text in texts]},
            "texts": texts,
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(map(count_tokens, texts))}},
            "response_type": "embeddings_by_type",
        }

    def limit_headers(self) -> dict[str, str]:
        """Give the rate limit headers of an answer."""
        return {"x-endpoint-monthly-call-limit": "1000", "x-trial-endpoint-call-limit": "20"}


COHERE = CohereDialect()


def _usage(answer: Answer) -> dict[str, Any]:
    counted = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
    return {"billed_units": counted, "tokens": counted, "cached_tokens": 0}

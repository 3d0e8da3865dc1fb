"""Bedrock's wire format from the server's side: Converse, whole and streamed, and InvokeModel for embeddings."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_llm_provider.clients.rules import content_text, count_tokens
from airflow_llm_provider.simulator.vectors import made_up_vector
from airflow_llm_provider.simulator.wire import Answer, BadRequestError, Dialect, check_messages, pieces, texts_of

__all__ = ["BEDROCK"]

_SIGNED_BY = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/")


class BedrockDialect(Dialect):
    """Bedrock's Converse."""

    name: ClassVar[str] = "bedrock"
    events: ClassVar[str] = "application/vnd.amazon.eventstream"
    error_types: ClassVar[Mapping[int, tuple[str, str | None]]] = {
        400: ("ValidationException", None),
        401: ("UnrecognizedClientException", None),
        403: ("AccessDeniedException", None),
        404: ("ResourceNotFoundException", None),
        408: ("ModelTimeoutException", None),
        424: ("ModelErrorException", None),
        429: ("ThrottlingException", None),
        503: ("ServiceUnavailableException", None),
    }
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {
        "ContextLengthError": (None, "Input is too long for requested model: ")
    }
    stop_reasons: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens"}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the id of the key that a request is signed with; the signature itself is not looked at."""
        signed = _SIGNED_BY.match(headers.get("authorization", ""))
        return signed[1] if signed else None

    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""
        check_messages(body, ("user", "assistant"))
        for name in ("system", "messages"):
            for block in (part for item in body.get(name, ()) for part in item.get("content", [item])):
                if not isinstance(block, dict) or block.keys().isdisjoint(("text", "toolUse", "toolResult")):
                    raise BadRequestError(f"The format of the value at {name} is invalid")

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""
        system = [content_text(body["system"])] if body.get("system") else []
        return system + texts_of(body["messages"])

    def fields(self, body: Mapping[str, Any], path: Mapping[str, str]) -> dict[str, Any]:
        """Give model, stream, limit and schema in OpenAI's words."""
        limit = body.get("inferenceConfig", {}).get("maxTokens")
        wished = (
            body.get("outputConfig", {}).get("textFormat", {}).get("structure", {}).get("jsonSchema", {}).get("schema")
        )
        schema = {"response_format": {"type": "json_schema", "schema": json.loads(wished)}} if wished else {}
        return {
            **schema,
            **({"max_tokens": limit} if limit else {}),
            "model": path["model"],
            "stream": path.get("operation") == "converse-stream",
        }

    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body."""
        _, opening = self.refusals.get(error_name, (None, ""))
        return {"message": opening + message}

    def error_headers(self, status: int) -> dict[str, str]:
        """Give the header that has the error's name."""
        kind, _ = self.error_types.get(status, ("InternalServerException", None))
        return {"x-amzn-errortype": kind}

    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": answer.text}]}},
            "stopReason": self.stop_reasons[answer.finish_reason],
            "usage": _usage(answer),
            "metrics": {"latencyMs": 1},
        }

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer as AWS's binary events."""
        yield _event("messageStart", {"role": "assistant"})
        for piece in pieces(answer.text):
            yield _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
        yield _event("contentBlockStop", {"contentBlockIndex": 0})
        yield _event("messageStop", {"stopReason": self.stop_reasons[answer.finish_reason]})
        yield _event("metadata", {"usage": _usage(answer), "metrics": {"latencyMs": 1}})

    def embed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Give the answer to ``InvokeModel`` of an embedding model: Cohere's or Titan's, by the request's form."""
        model = str(body["model"])
        if "texts" in body:
            dimensions = body.get("output_dimension") or 1024
            return {"embeddings": {"float": [made_up_vector(model, text, dimensions) for text in body["texts"]]}}
        if not isinstance(body.get("inputText"), str):
            raise BadRequestError("Malformed input request: #: required key [inputText] not found")
        text = body["inputText"]
        found = made_up_vector(model, text, body.get("dimensions") or 1024)
        return {"embedding": found, "inputTextTokenCount": count_tokens(text)}


BEDROCK = BedrockDialect()


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    """Write an event as AWS frames it: lengths, headers and payload, each with a checksum."""
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    payload = json.dumps(data).encode()
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
    }

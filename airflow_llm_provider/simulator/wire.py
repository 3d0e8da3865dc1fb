"""What the providers' wire formats have in common, from the server's side; each has a module of its own beside this one."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_llm_provider.clients.rules import content_text

__all__ = [
    "CREATED",
    "EVENTS",
    "MODELS",
    "Answer",
    "BadRequestError",
    "Dialect",
    "bearer",
    "check_count",
    "check_messages",
    "check_temperature",
    "identity",
    "pieces",
    "server_sent_event",
    "texts_of",
]

MODELS = (
    "gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "text-embedding-3-small", "text-embedding-3-large",
    "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-6", "claude-haiku-4-5-20251001",
)  # fmt: skip
"""Listed by ``GET /v1/models``; any other model answers too, except those whose name begins with ``missing-``."""

EVENTS = "text/event-stream"

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


class Dialect(ABC):
    """One provider's way of saying things.

    Attributes:
        name: The provider.
        error_types: Status to the error's type, and its code.
        refusals: Name of one of our error classes to the error's code, and how its message begins.
        events: What a streamed answer is.
    """

    name: ClassVar[str]
    error_types: ClassVar[Mapping[int, tuple[str, str | None]]] = {}
    refusals: ClassVar[Mapping[str, tuple[str | None, str]]] = {}
    events: ClassVar[str] = EVENTS

    @abstractmethod
    def key(self, headers: Mapping[str, str]) -> str | None:
        """Give the key that a request carries."""

    @abstractmethod
    def check(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Refuse a request that the API would refuse."""

    @abstractmethod
    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Give every text of the prompt, the last user text at the end."""

    def fields(self, body: Mapping[str, Any], path: Mapping[str, str]) -> Mapping[str, Any]:
        """Give model, stream, limit and schema in OpenAI's words, where they are not in the body in these."""
        return {}

    @abstractmethod
    def error(self, status: int, message: str, error_name: str = "") -> dict[str, Any]:
        """Give an error's body; what the status alone does not tell is in `refusals`, by the name of our error class."""

    def error_headers(self, status: int) -> dict[str, str]:
        """Give the headers that belong to an error."""
        return {}

    @abstractmethod
    def complete(self, answer: Answer) -> dict[str, Any]:
        """Give the body of an answer."""

    @abstractmethod
    def stream(self, answer: Answer, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Give an answer bit by bit."""

    def limit_headers(self) -> dict[str, str]:
        """Give the rate limit headers of an answer."""
        return {}


def pieces(text: str) -> Iterator[str]:
    """Cut a text into what a stream sends at a time."""
    for start in range(0, len(text), 12):
        yield text[start : start + 12]


def check_temperature(body: Mapping[str, Any], most: float) -> None:
    """Refuse a temperature that is no number from 0 to ``most``."""
    temperature = body.get("temperature")
    if temperature is not None and not (isinstance(temperature, (int, float)) and 0 <= temperature <= most):
        raise BadRequestError(f"temperature: must be between 0 and {most}")


def check_count(body: Mapping[str, Any], name: str, most: int | None = None) -> None:
    """Refuse a count that is no whole number from 1 to ``most``."""
    count = body.get(name)
    if count is not None and (type(count) is not int or count < 1 or (most is not None and count > most)):
        raise BadRequestError(f"{name}: must be an integer of at least 1" + (f" and at most {most}" if most else ""))


def check_messages(body: Mapping[str, Any], roles: tuple[str, ...]) -> None:
    """Refuse a conversation that is empty, or in which somebody else than ``roles`` speaks."""
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


def bearer(headers: Mapping[str, str]) -> str | None:
    """Give the key in the header ``Authorization: Bearer``."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None


def texts_of(messages: list[dict[str, Any]]) -> list[str]:
    """Give the text of every message, that of the last user message at the end."""
    asked = [index for index, message in enumerate(messages) if message["role"] == "user"]
    last = asked[-1] if asked else len(messages) - 1
    texts = [content_text(message.get("content")) for message in messages]
    return texts[:last] + texts[last + 1 :] + [texts[last]]


def server_sent_event(data: Mapping[str, Any] | str, name: str | None = None) -> bytes:
    """Write a server-sent event."""
    head = f"event: {name}\n" if name else ""
    told = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{head}data: {told}\n\n".encode()


def identity(answer: Answer) -> str:
    """Make an id that is the same for the same answer."""
    return hashlib.sha256(f"{answer.model}\0{answer.text}\0{answer.input_tokens}".encode()).hexdigest()[:24]

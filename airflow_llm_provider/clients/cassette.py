"""A cassette: model answers kept in a file, to be given again without key, network and cost.

A file of JSON lines, one answer each, in the order in which they came. The request stands beside its answer, with secrets as
``***``, and is found by the hash of what stands there: a secret is no part of it, so it can neither be guessed from the file nor
be needed for a replay. Equal requests are answered in their order, the last answer again when they run out. Errors are answers as
well, so that tries are replayed like the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from airflow_llm_provider import errors
from airflow_llm_provider.clients.base import (
    ChatClient,
    ChatRequest,
    ChatResponse,
    Clients,
    EmbeddingClient,
    EmbeddingRequest,
    EmbeddingResponse,
)
from airflow_llm_provider.clients.failures import known_secrets, redact
from airflow_llm_provider.clients.rules import content_text
from airflow_llm_provider.json_lines import append_lines
from airflow_llm_provider.workflow.values import from_json, to_json

__all__ = ["Player", "Recorder"]

AnswerT = TypeVar("AnswerT", ChatResponse, EmbeddingResponse)

Kind = Literal["chat", "embed"]

_MOST_TEXTS = 100
"""Texts of one call when no client says how many it likes."""

_SHOWN = 80
"""Characters of a prompt that an error shows."""

_OFFLINE = "scripted"
"""Who has answered in every provider's place when a run was recorded offline."""


class _Failure(BaseModel):
    """An error of a provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    message: str
    status: int | None = None
    retry_after: float | None = None

    def error(self) -> errors.StepError:
        known = getattr(errors, self.type, None)
        kind = known if isinstance(known, type) and issubclass(known, errors.StepError) else errors.StepError
        if kind is errors.PolicyViolation:
            kind = errors.StepError
        return kind(self.message, status=self.status, retry_after=self.retry_after)


_ANSWERS: dict[Kind, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatResponse | _Failure),
    "embed": TypeAdapter(EmbeddingResponse | _Failure),
}


def _hidden(value: Any, secrets: Collection[str], *, keys: bool) -> Any:
    """Put ``***`` in place of secrets in a value's texts, and in the names of its members when ``keys`` says so."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        named = {redact(name, secrets) if keys else name: member for name, member in value.items()}
        return {name: _hidden(member, secrets, keys=keys) for name, member in named.items()}
    return [_hidden(item, secrets, keys=keys) for item in value] if isinstance(value, list) else value


def _shown(request: ChatRequest | EmbeddingRequest) -> dict[str, Any]:
    """Give a request as plain JSON without secrets: all that determines its answer, and all that may be kept of it."""
    told = {**asdict(request), "extra": {}} if isinstance(request, ChatRequest) else asdict(request)
    shown: dict[str, Any] = _hidden(from_json(to_json(told)), known_secrets(), keys=False)
    if isinstance(request, ChatRequest):
        shown["extra"] = _hidden(from_json(to_json(request.extra)), known_secrets(), keys=True)
        shown["messages"] = [_given(message) for message in shown["messages"]]
    return _given(shown)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    # What says nothing is left out, so that a field that is added later changes no key.
    return {name: value for name, value in fields.items() if value not in (None, [], {}, False)}


def _key(kind: Kind, provider: str, shown: dict[str, Any]) -> str:
    told = json.dumps([kind, provider, shown], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


class Recorder(Clients):
    """Adds every answer to a cassette as it arrives, so that a run that is cut short loses none.

    Args:
        path: The cassette; made anew.

    Raises:
        ConfigurationError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
        except OSError as error:
            raise errors.ConfigurationError(f"the cassette {path} cannot be written: {error.strerror}") from None

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give a client that records what the real one answers."""
        return _RecordingChat(make(), provider, self._path)

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that records what the real one answers."""
        return _RecordingEmbedding(make(), provider, self._path)


async def _recorded(
    path: Path, kind: Kind, provider: str, request: ChatRequest | EmbeddingRequest, asked: Awaitable[AnswerT]
) -> AnswerT:
    shown = _shown(request)
    entry: dict[str, Any] = {
        "key": _key(kind, provider, shown),
        "kind": kind,
        "provider": provider,
        "request": shown,
    }
    try:
        answer = await asked
    except errors.StepError as error:
        told = _Failure(
            type=type(error).__name__,
            message=redact(str(error), known_secrets()),
            status=error.status,
            retry_after=error.retry_after,
        )
        append_lines(path, [{**entry, "error": told.model_dump(exclude_none=True)}])
        raise
    plain = from_json(to_json(asdict(answer)))
    append_lines(path, [{**entry, "answer": _hidden(plain, known_secrets(), keys=False)}])
    return answer


class _RecordingChat:
    def __init__(self, client: ChatClient, provider: str, path: Path) -> None:
        self._client, self._provider, self._path = client, provider, path

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return await _recorded(self._path, "chat", self._provider, request, self._client.chat(request))

    async def aclose(self) -> None:
        await self._client.aclose()


class _RecordingEmbedding:
    def __init__(self, client: EmbeddingClient, provider: str, path: Path) -> None:
        self._client, self._provider, self._path = client, provider, path

    @property
    def most_texts(self) -> int:
        return self._client.most_texts

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        return await _recorded(self._path, "embed", self._provider, request, self._client.embed(request))

    async def aclose(self) -> None:
        await self._client.aclose()


class Player(Clients):
    """Answers from a cassette, and asks nobody.

    Args:
        path: The cassette. A last line that a killed run has cut off does not count.

    Raises:
        ConfigurationError: It cannot be read.
    """

    stand_in = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, list[ChatResponse | EmbeddingResponse | _Failure]] = defaultdict(list)
        try:
            # Answers may hold what Python takes for the end of a line, and JSON does not.
            *lines, rest = path.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise errors.ConfigurationError(f"the cassette {path} cannot be read: {reason}") from None
        for number, line in enumerate([*lines, rest], 1):
            if not line.strip():
                continue
            try:
                key, answer = _read(line)
            except ValueError as error:
                if number > len(lines) and self._answers:
                    break
                raise errors.ConfigurationError(
                    f"the cassette {path} cannot be read: line {number} is no recorded answer ({error})"
                ) from None
            self._answers[key].append(answer)

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give a client that knows the recorded answers only."""
        return _PlayedChat(self, provider)

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that knows the recorded answers only."""
        return _PlayedEmbedding(self, provider)

    def take(self, kind: Kind, provider: str, request: ChatRequest | EmbeddingRequest) -> Any:
        """Give the next answer to a request.

        Args:
            kind: What is asked for.
            provider: Who is asked; where nothing was recorded of it, what was recorded offline counts.
            request: What is asked.

        Raises:
            StepError: That is what was recorded.
            InvalidRequest: Nothing was recorded for it.
        """
        shown = _shown(request)
        keys = (_key(kind, who, shown) for who in (provider, _OFFLINE))
        answers = next((self._answers[key] for key in keys if key in self._answers), None)
        if answers is None:
            asked = content_text(request.messages[-1].content) if isinstance(request, ChatRequest) else request.texts[0]
            begins = redact(asked, known_secrets())[:_SHOWN]
            raise errors.InvalidRequest(
                f"{self._path} has no answer of {provider}/{request.model} to {begins!r}; record the run again"
            )
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, _Failure):
            raise answer.error()
        return answer


def _read(line: str) -> tuple[str, ChatResponse | EmbeddingResponse | _Failure]:
    """Read a line of a cassette; what is wrong with it is a ValueError."""
    entry = from_json(line)
    if not isinstance(entry, dict) or entry.get("kind") not in _ANSWERS or not isinstance(entry.get("key"), str):
        raise ValueError("expected an object with 'key', 'kind', and 'answer' or 'error'")
    kind: Kind = entry["kind"]
    try:
        told = _Failure.model_validate(entry["error"]) if "error" in entry else entry.get("answer")
        return entry["key"], _ANSWERS[kind].validate_python(told)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


class _PlayedChat:
    def __init__(self, player: Player, provider: str) -> None:
        self._player, self._provider = player, provider

    async def chat(self, request: ChatRequest) -> ChatResponse:
        answer: ChatResponse = self._player.take("chat", self._provider, request)
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""


class _PlayedEmbedding:
    most_texts = _MOST_TEXTS

    def __init__(self, player: Player, provider: str) -> None:
        self._player, self._provider = player, provider

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        answer: EmbeddingResponse = self._player.take("embed", self._provider, request)
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""

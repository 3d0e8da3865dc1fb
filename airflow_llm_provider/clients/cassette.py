"""A cassette: model answers kept in a file, to be given again without key, network and cost.

A file of JSON lines, one answer each, in the order in which they came. An answer is found by a hash of everything that determines
it; the request stands beside it for people, with secrets as ``***``. Equal requests are answered in their order, the last answer
again when they run out. Errors are answers as well, so that tries are replayed like the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from airflow_llm_provider import errors
from airflow_llm_provider.clients.base import (
    ChatClient,
    ChatRequest,
    ChatResponse,
    Clients,
    EmbeddingClient,
    EmbeddingRequest,
    EmbeddingResponse,
    Usage,
)
from airflow_llm_provider.clients.failures import KNOWN_SECRETS, redact
from airflow_llm_provider.json_lines import append_lines
from airflow_llm_provider.workflow.values import from_json, to_json

__all__ = ["Player", "Recorder"]

AnswerT = TypeVar("AnswerT", ChatResponse, EmbeddingResponse)

_MOST_TEXTS = 100
"""Texts of one call when no client says how many it likes."""


def _key(kind: str, provider: str, request: ChatRequest | EmbeddingRequest) -> str:
    told = json.dumps([kind, provider, asdict(request)], sort_keys=True, default=str)
    return hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest()


class Recorder(Clients):
    """Adds every answer to a cassette as it arrives, so that a run that is cut short loses none.

    Args:
        path: The cassette; made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give a client that records what the real one answers."""
        return _RecordingChat(make(), provider, self._path)

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that records what the real one answers."""
        return _RecordingEmbedding(make(), provider, self._path)


async def _recorded(
    path: Path, kind: str, provider: str, request: ChatRequest | EmbeddingRequest, asked: Awaitable[AnswerT]
) -> AnswerT:
    entry: dict[str, Any] = {"key": _key(kind, provider, request), "provider": provider}
    shown = from_json(redact(to_json(asdict(request)), KNOWN_SECRETS.get()))
    entry["request"] = {name: value for name, value in shown.items() if value not in (None, [], {}, False)}
    try:
        answer = await asked
    except errors.StepError as error:
        told = {"type": type(error).__name__, "message": redact(str(error), KNOWN_SECRETS.get())}
        append_lines(path, [{**entry, "error": {**told, "status": error.status, "retry_after": error.retry_after}}])
        raise
    append_lines(path, [{**entry, "answer": from_json(redact(to_json(asdict(answer)), KNOWN_SECRETS.get()))}])
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
        path: The cassette.

    Raises:
        ConfigurationError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        try:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                entry = from_json(line)
                if not isinstance(entry, dict) or not {"answer", "error"} & entry.keys():
                    raise ValueError(f"line {number} is no recorded answer")
                self._answers[str(entry.get("key"))].append(entry)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise errors.ConfigurationError(f"the cassette {path} cannot be read: {reason}") from None

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give a client that knows the recorded answers only."""
        return _PlayedChat(self, provider)

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that knows the recorded answers only."""
        return _PlayedEmbedding(self, provider)

    def take(self, kind: str, provider: str, request: ChatRequest | EmbeddingRequest) -> Mapping[str, Any]:
        """Give the next answer to a request.

        Raises:
            StepError: That is what was recorded.
            InvalidRequest: Nothing was recorded for it.
        """
        answers = self._answers.get(_key(kind, provider, request))
        if not answers:
            asked = request.messages[-1].content if isinstance(request, ChatRequest) else request.texts[:1]
            begins = redact(str(asked), KNOWN_SECRETS.get())[:80]
            raise errors.InvalidRequest(
                f"{self._path} has no answer of {provider}/{request.model} to {begins!r}; record the run again"
            )
        entry = answers.pop(0) if len(answers) > 1 else answers[0]
        if "error" in entry:
            told = entry["error"]
            known = getattr(errors, str(told.get("type")), errors.StepError)
            raise known(str(told.get("message")), status=told.get("status"), retry_after=told.get("retry_after"))
        answer: Mapping[str, Any] = entry["answer"]
        return answer


class _PlayedChat:
    def __init__(self, player: Player, provider: str) -> None:
        self._player, self._provider = player, provider

    async def chat(self, request: ChatRequest) -> ChatResponse:
        answer = self._player.take("chat", self._provider, request)
        return ChatResponse(**{**answer, "usage": Usage(**answer["usage"])})

    async def aclose(self) -> None:
        """Nothing is open."""


class _PlayedEmbedding:
    most_texts = _MOST_TEXTS

    def __init__(self, player: Player, provider: str) -> None:
        self._player, self._provider = player, provider

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        answer = self._player.take("embed", self._provider, request)
        vectors = tuple([float(number) for number in vector] for vector in answer["vectors"])
        return EmbeddingResponse(vectors=vectors, model=answer["model"], usage=Usage(**answer["usage"]))

    async def aclose(self) -> None:
        """Nothing is open."""

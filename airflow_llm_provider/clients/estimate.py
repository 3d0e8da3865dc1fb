"""Clients that ask nobody and count what asking would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_llm_provider.clients.base import (
    ChatClient,
    ChatRequest,
    ChatResponse,
    Clients,
    Credentials,
    EmbeddingClient,
    Usage,
)
from airflow_llm_provider.clients.rules import ANSWER_TOKENS, count_tokens
from airflow_llm_provider.clients.scripted import ScriptedChat, ScriptedEmbeddings

__all__ = ["Estimating"]


class Estimating(Clients):
    """Answers with made-up texts, at the price of the model that a step names."""

    stand_in = True

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give a client that counts."""
        return _EstimatingChat()

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that makes vectors up."""
        return ScriptedEmbeddings(Credentials())


class _EstimatingChat:
    def __init__(self) -> None:
        self._scripted = ScriptedChat(Credentials())

    async def chat(self, request: ChatRequest) -> ChatResponse:
        answer = await self._scripted.chat(request)
        usage = Usage(count_tokens(request.messages), request.max_tokens or ANSWER_TOKENS)
        return replace(answer, usage=usage)

    async def aclose(self) -> None:
        """Nothing is open."""

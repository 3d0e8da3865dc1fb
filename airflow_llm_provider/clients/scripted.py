"""``scripted``: a provider without a network, for tests and for trying a workflow out.

It answers from rules (see :mod:`airflow_llm_provider.clients.rules`), given as ``answers`` or as the file ``script`` among the
credentials' options, or in the file that the variable ``LLM_SCRIPT`` names. Its embeddings are computed from the texts' words and
letters (see :mod:`airflow_llm_provider.clients.hashing`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from airflow_llm_provider import errors
from airflow_llm_provider.clients.base import (
    ChatClient,
    ChatRequest,
    ChatResponse,
    Clients,
    Credentials,
    EmbeddingClient,
    EmbeddingRequest,
    EmbeddingResponse,
    Usage,
)
from airflow_llm_provider.clients.hashing import hashed_vector
from airflow_llm_provider.clients.rules import (
    Rule,
    RuleBook,
    content_text,
    count_tokens,
    load_rules,
    read_rules,
    text_of,
)

__all__ = ["ScriptedChat", "ScriptedClients", "ScriptedEmbeddings"]

DEFAULT_DIMENSIONS = 256
"""Numbers in a vector when nobody asks for another count."""


class ScriptedChat:
    """Answers from rules.

    Args:
        credentials: ``options`` may hold ``answers`` or ``script``; all else is not needed.
        http: Not needed either.

    Raises:
        ConfigurationError: The rules cannot be read.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None

    def __init__(self, credentials: Credentials, http: object = None) -> None:
        script = credentials.options.get("script", os.environ.get("LLM_SCRIPT"))
        answers = read_rules(credentials.options.get("answers"), "the scripted provider's answers")
        self._rules = RuleBook([*answers, *(load_rules(script) if script else ())])

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Answer as the rules say.

        Args:
            request: What to answer.

        Raises:
            StepError: The rule says so.
        """
        asked = [message.content for message in request.messages if message.role == "user"]
        text = content_text(asked[-1]) if asked else ""
        rule = self._rules.take(request.model, text)
        delay = rule.delay + (rule.fault.delay if rule.fault else 0)
        if delay:
            await asyncio.sleep(delay)
        if rule.error is not None:
            error: type[errors.StepError] = getattr(errors, rule.error.type)
            raise error(rule.error.message, retry_after=rule.error.retry_after)
        broken = rule.fault.error("scripted") if rule.fault else None
        if broken is not None:
            raise broken
        try:
            answer = text_of(rule, request.model, text, {**_wish(request), **request.extra})
        except ValueError as reason:
            raise errors.InvalidRequest(f"scripted cannot answer with JSON of this schema: {reason}") from None
        return ChatResponse(
            text=answer,
            model=request.model,
            usage=Usage(count_tokens(request.messages), count_tokens(answer)),
            finish_reason="stop",
        )

    async def aclose(self) -> None:
        """Nothing is open."""


def _wish(request: ChatRequest) -> dict[str, Any]:
    """Ask for what the answer must be like, as one does over the wire."""
    return {} if request.schema is None else {"response_format": {"type": "json_schema", "schema": request.schema}}


class ScriptedEmbeddings:
    """Vectors that depend on the texts alone; similar texts have similar ones.

    Args:
        credentials: Not needed.
        http: Not needed either.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None
    most_texts: ClassVar[int] = 100

    def __init__(self, credentials: Credentials | None = None, http: object = None) -> None:
        """Nothing is kept."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Compute the vectors.

        Args:
            request: The texts; any model is known, and ``dimensions`` is 256 when it says nothing.
        """
        dimensions = request.dimensions or DEFAULT_DIMENSIONS
        vectors = tuple(hashed_vector(text, dimensions) for text in request.texts)
        return EmbeddingResponse(vectors, request.model, Usage(sum(map(count_tokens, request.texts))))

    async def aclose(self) -> None:
        """Nothing is open."""


class ScriptedClients(Clients):
    """Answers for every provider from one list of rules, whatever the environment says; a call costs what its model costs.

    Args:
        answers: The rules.
    """

    stand_in = True

    def __init__(self, answers: Iterable[Rule]) -> None:
        self._chat = ScriptedChat(Credentials(options={"answers": [*answers], "script": None}))

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give the client that knows the rules."""
        return self._chat

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give a client that makes vectors of the texts alone."""
        return ScriptedEmbeddings()

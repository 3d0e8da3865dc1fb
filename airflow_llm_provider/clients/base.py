"""What every client speaks: one request, one answer, one protocol for chat and one for embeddings.

A client translates :class:`ChatRequest` or :class:`EmbeddingRequest` to its provider's wire format, the provider's answer back
to :class:`ChatResponse` or :class:`EmbeddingResponse`, and every failure to a class of :mod:`airflow_llm_provider.errors`. It
does one call; batches, retries, timeouts of a step, caching and accounting belong to those who use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

__all__ = [
    "ChatClient",
    "ChatRequest",
    "ChatResponse",
    "Clients",
    "ConnectionFields",
    "Credentials",
    "EmbeddingClient",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "Message",
    "Purpose",
    "Tool",
    "ToolCall",
    "Usage",
]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may ask for.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: JSON Schema of its arguments, an object.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a function called.

    Attributes:
        id: The provider's id, which the result has to name.
        name: The function.
        arguments: Its arguments.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks; ``tool`` for a function's result.
        content: The text, or the provider's own list of content parts (passed through).
        tool_calls: What an assistant has asked for.
        tool_call_id: Of which call this is the result.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | Sequence[Mapping[str, Any]]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What to ask a model, in no provider's dialect.

    Attributes:
        model: The provider's model name.
        messages: The conversation, system messages included.
        temperature: Sampling temperature, 0 to 2.
        max_tokens: Most tokens of the answer.
        top_p: Nucleus sampling mass, 0 to 1.
        stop: Texts that end the answer.
        seed: Sampling seed, where the provider has one.
        stream: Whether to take the answer as it is written.
        tools: Functions that the model may ask for.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the function that it has to ask for.
        schema: JSON Schema that the answer is to meet. The client asks for it as well as its API can; whoever asks checks.
        extra: Further fields of the provider's request body, passed through as they are.
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    schema: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider counted them.

    Attributes:
        input_tokens: Tokens of the prompt, cached ones included.
        output_tokens: Tokens of the answer, reasoning included.
        cached_tokens: Prompt tokens that the provider read from its cache.
        reasoning_tokens: Answer tokens that were spent on reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A model's answer.

    Attributes:
        text: The answer's text.
        model: The model that answered, as the provider names it (may be more exact than the one asked for).
        usage: Tokens spent.
        finish_reason: Why the answer ended: ``stop``, ``length``, ``content_filter``, ``tool_calls`` or the provider's own word.
        id: The provider's id of the answer.
        first_token_seconds: Time to the first piece of a streamed answer; None for one that came whole.
        tool_calls: The functions that the model asks for.
    """

    text: str
    model: str
    usage: Usage
    finish_reason: str | None = None
    id: str | None = None
    first_token_seconds: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()


Purpose = Literal["document", "query"]
"""What texts are embedded for."""


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What to turn into vectors.

    Attributes:
        model: The provider's model name.
        texts: The texts.
        dimensions: Numbers in each vector; None means the model's own count.
        purpose: Whether the texts are to be found, or are what is looked for; some models make a difference.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    purpose: Purpose = "document"


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """Texts as vectors.

    Attributes:
        vectors: One vector a text, in the order of the texts.
        model: The model that answered, as the provider names it.
        usage: Tokens spent.
    """

    vectors: tuple[list[float], ...]
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a provider or a vector store.

    Attributes:
        base_url: Root of the API, with its version segment where the API has one (``https://api.openai.com/v1``);
            None means the client's own default.
        api_key: The secret; never part of ``repr``.
        headers: Further request headers, for gateways; never part of ``repr``.
        options: Settings that only one client reads (the script of ``scripted``, an API version); they may hold secrets, and are
            never part of ``repr``.
        timeout: Seconds that the other side may be silent during a call; None means the client's own limit.
    """

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float | None = None

    @classmethod
    def from_environment(cls, *, base_url: str | None, api_key: str | None) -> Credentials:
        """Give what environment variables say.

        Args:
            base_url: Name of the variable with the root of the API, if there is one.
            api_key: Name of the variable with the secret, if there is one.
        """
        root, secret = ((os.environ.get(name) or None) if name else None for name in (base_url, api_key))
        return cls(root, secret)


@dataclass(frozen=True, slots=True)
class ConnectionFields:
    """What an Airflow connection says, for whatever is no chat provider.

    Attributes:
        host: The server, or a URL.
        login: Who signs in.
        password: The secret; never part of ``repr``.
        extra: Further fields, which may hold secrets; never part of ``repr``.
    """

    host: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@runtime_checkable
class ChatClient(Protocol):
    """One provider's chat API."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask once.

        Args:
            request: What to ask.

        Raises:
            StepError: The class that fits what went wrong.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Give connections back."""
        ...  # pragma: no cover - protocol


@runtime_checkable
class EmbeddingClient(Protocol):
    """One provider's embedding API.

    Attributes:
        most_texts: Texts that one call takes when nobody asks for fewer; :mod:`airflow_llm_provider.clients.batches` keeps to it.
    """

    @property
    def most_texts(self) -> int:
        """Texts that one call takes when nobody asks for fewer; :mod:`airflow_llm_provider.clients.batches` keeps to it."""
        ...  # pragma: no cover - protocol

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Turn texts into vectors in one call.

        Args:
            request: The texts, at most ``most_texts`` unless the caller knows better.

        Raises:
            StepError: The class that fits what went wrong.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Give connections back."""
        ...  # pragma: no cover - protocol


class Clients:
    """Decides who answers a run's calls: this one lets the real clients do it.

    :mod:`airflow_llm_provider.clients.cassette`, :mod:`airflow_llm_provider.clients.estimate` and
    :mod:`airflow_llm_provider.clients.scripted` have others.

    Attributes:
        stand_in: Whether no real client is ever made, so that there is nothing to keep a run without network from.
    """

    stand_in: ClassVar[bool] = False

    def chat(self, provider: str, make: Callable[[], ChatClient]) -> ChatClient:
        """Give the client that answers for a provider.

        Args:
            provider: The provider's name.
            make: Makes the real client.
        """
        return make()

    def embedding(self, provider: str, make: Callable[[], EmbeddingClient]) -> EmbeddingClient:
        """Give the client that makes vectors for a provider; arguments are those of :meth:`chat`."""
        return make()

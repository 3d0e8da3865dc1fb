"""Providers, a module each; found through the entry point groups ``airflow_llm_provider.chat_clients`` and ``….embedding_clients``.

To add one: write a class with the members of :class:`ChatClient` or :class:`EmbeddingClient`, the class attributes of
:class:`HttpClient` where it has a key and an address, and register it in ``pyproject.toml``. Importing this package loads no
network library; a client is loaded when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from airflow_llm_provider.clients.base import ChatClient, Credentials, EmbeddingClient
from airflow_llm_provider.registry import Registry

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Kind",
    "chat_client",
    "embedding_client",
    "environment_credentials",
    "is_provider",
    "known_providers",
]

Kind = Literal["chat", "embedding"]
"""What a provider is asked for."""

_REGISTRIES: Mapping[Kind, Registry] = {
    "chat": Registry("airflow_llm_provider.chat_clients", "provider"),
    "embedding": Registry("airflow_llm_provider.embedding_clients", "provider of embeddings"),
}


def known_providers(kind: Kind = "chat") -> list[str]:
    """Give the names of all installed providers of that kind."""
    return _REGISTRIES[kind].names()


def is_provider(name: str, kind: Kind = "chat") -> bool:
    """Tell whether an installed package is a client of that provider."""
    return name in _REGISTRIES[kind]


def chat_client(provider: str, credentials: Credentials, *, http: httpx.AsyncClient | None = None) -> ChatClient:
    """Give a new client.

    Args:
        provider: The provider's name.
        credentials: How to reach it.
        http: Makes the calls and stays open when the client is closed, so that clients of one event loop may share it;
            None means a new one of the client's own.

    Raises:
        ConfigurationError: The provider is unknown, or its credentials lack something.
    """
    client: ChatClient = _new("chat", provider, credentials, http)
    return client


def embedding_client(
    provider: str, credentials: Credentials, *, http: httpx.AsyncClient | None = None
) -> EmbeddingClient:
    """Give a new client for embeddings; the arguments and errors are those of :func:`chat_client`."""
    client: EmbeddingClient = _new("embedding", provider, credentials, http)
    return client


def _new(kind: Kind, provider: str, credentials: Credentials, http: httpx.AsyncClient | None) -> Any:
    new = _REGISTRIES[kind].find(provider)
    # A client of another package need not know how to share.
    return new(credentials) if http is None else new(credentials, http=http)


def environment_credentials(provider: str) -> Credentials:
    """Give what the provider's usual environment variables say.

    Args:
        provider: The provider's name.

    Raises:
        ConfigurationError: The provider is unknown.
    """
    only_embeds = provider not in _REGISTRIES["chat"] and provider in _REGISTRIES["embedding"]
    client = _REGISTRIES["embedding" if only_embeds else "chat"].find(provider)
    return Credentials.from_environment(base_url=client.base_url_variable, api_key=client.api_key_variable)

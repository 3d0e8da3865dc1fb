"""Chat providers, a module each; found through the entry point group ``airflow_llm_provider.chat_clients``.

To add one: write a class with the members of :class:`ChatClient`, the class attributes of :class:`HttpChatClient` where it has a
key and an address, and register it in ``pyproject.toml``. Importing this package loads no network library; a client is loaded
when it is first asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow_llm_provider.clients.base import ChatClient, Credentials
from airflow_llm_provider.registry import Registry

if TYPE_CHECKING:
    import httpx

__all__ = ["chat_client", "environment_credentials", "is_provider", "known_providers"]

_CLIENTS = Registry("airflow_llm_provider.chat_clients", "provider")


def known_providers() -> list[str]:
    """Give the names of all installed providers."""
    return _CLIENTS.names()


def is_provider(name: str) -> bool:
    """Tell whether an installed package is a client of that provider."""
    return name in _CLIENTS


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
    new = _CLIENTS.find(provider)
    # A client of another package need not know how to share.
    client: ChatClient = new(credentials) if http is None else new(credentials, http=http)
    return client


def environment_credentials(provider: str) -> Credentials:
    """Give what the provider's usual environment variables say.

    Args:
        provider: The provider's name.

    Raises:
        ConfigurationError: The provider is unknown.
    """
    client = _CLIENTS.find(provider)
    return Credentials(base_url=_variable(client.base_url_variable), api_key=_variable(client.api_key_variable))


def _variable(name: str | None) -> str | None:
    return (os.environ.get(name) or None) if name else None

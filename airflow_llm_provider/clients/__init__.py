"""Chat providers, a module each; found through the entry point group ``airflow_llm_provider.chat_clients``.

To add one: write a class with the members of :class:`ChatClient`, the class attributes of :class:`HttpChatClient` where it has a
key and an address, and register it in ``pyproject.toml``. Importing this package loads no network library; a client is loaded
when it is first asked for.
"""

from __future__ import annotations

import os

from airflow_llm_provider.clients.base import ChatClient, Credentials
from airflow_llm_provider.registry import Registry

__all__ = ["chat_client", "environment_credentials", "known_providers"]

_CLIENTS = Registry("airflow_llm_provider.chat_clients", "provider")


def known_providers() -> list[str]:
    """Give the names of all installed providers."""
    return _CLIENTS.names()


def chat_client(provider: str, credentials: Credentials) -> ChatClient:
    """Give a new client.

    Args:
        provider: The provider's name.
        credentials: How to reach it.

    Raises:
        ConfigurationError: The provider is unknown, or its credentials lack something.
    """
    client: ChatClient = _CLIENTS.find(provider)(credentials)
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

"""Chat providers, a module each; found through the entry point group ``airflow_llm_provider.chat_clients``.

To add one: write a class with the members of :class:`ChatClient`, the class attributes of :class:`HttpChatClient` where it has a
key and an address, and register it in ``pyproject.toml``. Importing this package loads no network library; a client is loaded
when it is first asked for.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any

from airflow_llm_provider.clients.base import ChatClient, Credentials
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["chat_client", "environment_credentials", "known_providers"]

GROUP = "airflow_llm_provider.chat_clients"


@cache
def _own_entry_points() -> Mapping[str, EntryPoint]:
    # As in the executors' registry: looking only at our own metadata saves tens of milliseconds.
    points = distribution("airflow-llm-provider").entry_points
    return {point.name: point for point in points if point.group == GROUP}


@cache
def _all_entry_points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _client_class(provider: str) -> Any:
    point = _own_entry_points().get(provider) or _all_entry_points().get(provider)
    if point is None:
        known = known_providers()
        close = difflib.get_close_matches(provider, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise ConfigurationError(f"no provider is called {provider!r}; {hint}")
    return point.load()


def known_providers() -> list[str]:
    """Give the names of all installed providers."""
    return sorted(_all_entry_points())


def chat_client(provider: str, credentials: Credentials) -> ChatClient:
    """Give a new client.

    Args:
        provider: The provider's name.
        credentials: How to reach it.

    Raises:
        ConfigurationError: The provider is unknown, or its credentials lack something.
    """
    client: ChatClient = _client_class(provider)(credentials)
    return client


def environment_credentials(provider: str) -> Credentials:
    """Give what the provider's usual environment variables say.

    Args:
        provider: The provider's name.

    Raises:
        ConfigurationError: The provider is unknown.
    """
    client = _client_class(provider)
    return Credentials(base_url=_variable(client.base_url_variable), api_key=_variable(client.api_key_variable))


def _variable(name: str | None) -> str | None:
    return (os.environ.get(name) or None) if name else None

"""What steps run in: settings, credentials, secrets, and the clients that one event loop shares."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from types import TracebackType

from typing_extensions import Self

from airflow_llm_provider.clients import chat_client, environment_credentials
from airflow_llm_provider.clients.base import ChatClient, Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.observer import Observer

__all__ = ["CredentialsLookup", "Runtime", "environment_secret"]

CredentialsLookup = Callable[[str, "str | None"], Credentials]
"""Provider and connection id (None: the provider's default) to credentials."""


def environment_secret(key: str) -> str | None:
    """Look a secret up where Airflow looks for its variables first: ``AIRFLOW_VAR_<KEY>``.

    Args:
        key: The secret's name.
    """
    return os.environ.get(f"AIRFLOW_VAR_{key.upper()}")


class Runtime:
    """The surroundings of running steps; an async context manager that closes its clients at the end.

    Args:
        settings: What ``orchestrator.yaml`` says of execution.
        credentials: Finds a provider's credentials; by default ``orchestrator.yaml``, then the provider's usual variables.
        secret: Looks up ``secrets.<key>``, giving None for one that does not exist; by default in the environment.
        observer: Hears what happens.
        offline: Whether the provider ``scripted`` answers in place of every other: nothing is sent, and nothing is paid.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        credentials: CredentialsLookup | None = None,
        secret: Callable[[str], str | None] = environment_secret,
        observer: Observer | None = None,
        offline: bool = False,
    ) -> None:
        self.settings = settings or Settings()
        self.secret = secret
        self.observer = observer or Observer()
        self.offline = offline
        self.find_credentials: CredentialsLookup = credentials or self.configured_credentials
        self._clients: dict[tuple[str, str | None, str | None], ChatClient] = {}

    def observed_by(self, observer: Observer) -> Runtime:
        """Give the same runtime, clients and all, that tells somebody else what happens."""
        other = copy.copy(self)
        other.observer = observer
        return other

    def configured_credentials(self, provider: str, connection: str | None = None) -> Credentials:
        """Give a provider's credentials from ``orchestrator.yaml``, else from its usual variables.

        Args:
            provider: The provider's name.
            connection: Unused here; Airflow connections are known only inside Airflow.
        """
        usual = environment_credentials(provider)
        configured = self.settings.api_keys.get(provider)
        if configured is None:
            return usual
        return Credentials(usual.base_url, configured.get_secret_value(), usual.headers, usual.options)

    def provider(self, name: str) -> str:
        """Give the provider that answers when a step asks for one of that name."""
        return "scripted" if self.offline else name

    def chat(self, provider: str, *, connection: str | None = None, base_url: str | None = None) -> ChatClient:
        """Give the client of a provider; the same one for the same arguments.

        Args:
            provider: The provider's name.
            connection: The Airflow connection to use; None means the provider's default.
            base_url: Root of the API, over what the credentials say.

        Raises:
            ConfigurationError: The provider is unknown, or its credentials are missing.
        """
        key = (provider, connection, base_url)
        if key not in self._clients:
            found = self.find_credentials(provider, connection)
            if base_url is not None:
                found = Credentials(base_url, found.api_key, found.headers, found.options)
            self._clients[key] = chat_client(provider, found)
        return self._clients[key]

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

"""What steps run in: settings, credentials, secrets, and the clients that one event loop shares."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from airflow_llm_provider.clients import chat_client, embedding_client, environment_credentials, is_provider
from airflow_llm_provider.clients.base import ChatClient, Clients, ConnectionFields, Credentials, EmbeddingClient, Usage
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.config.targets import Alerts, Slack, Smtp
from airflow_llm_provider.engine.approval import Ask, nobody
from airflow_llm_provider.engine.cache import Cache, open_cache
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.stores import is_store, store_credentials, vector_store
from airflow_llm_provider.stores.base import VectorStore

if TYPE_CHECKING:
    from airflow_llm_provider.clients.base import ChatRequest, ChatResponse
    from airflow_llm_provider.clients.batch import BatchClient
    from airflow_llm_provider.clients.objects import ObjectStore
    from airflow_llm_provider.config.money import ModelPlace
    from airflow_llm_provider.engine.sharing import SharedState
    from airflow_llm_provider.engine.spending import Ledger, Payer
    from airflow_llm_provider.engine.traffic import Call, Traffic

__all__ = [
    "Answers",
    "ConnectionLookup",
    "CredentialsLookup",
    "Rehearsal",
    "Runtime",
    "environment_secret",
    "no_connection",
]

_log = logging.getLogger(__name__)

BOOKED_EVERY = 1.0
"""Seconds between two times that what was spent is written down; a killed process leaves no more out."""

CredentialsLookup = Callable[[str, "str | None"], Credentials]
"""Provider or vector store, and connection id (None: the default one), to credentials."""

_Key = tuple[str, "str | None", "str | None"]
"""Name, connection, and root of the API."""

Answers = Callable[["ModelPlace", "ChatRequest"], Awaitable["tuple[ChatResponse, float] | None"]]
"""Whom to ask and what, to the answer and which part of its usual price it costs."""

ConnectionLookup = Callable[[str], "ConnectionFields | None"]
"""Connection id to the connection's fields; None where there are no connections, so that the settings hold."""


def no_connection(connection: str) -> ConnectionFields | None:
    """Look a connection up where there are none: outside of Airflow.

    Args:
        connection: The connection's id.
    """
    return None


def environment_secret(key: str) -> str | None:
    """Look a secret up where Airflow looks for its variables first: ``AIRFLOW_VAR_<KEY>``.

    Args:
        key: The secret's name.
    """
    return os.environ.get(f"AIRFLOW_VAR_{key.upper()}")


@dataclass(frozen=True)
class Rehearsal:
    """A run that neither asks nor changes anything outside: what would reach out is left out (:meth:`Executor.reaches_out`).

    No target is known, nobody waits between tries, and outbox, metrics and vectors are kept in a folder of its own.

    Attributes:
        folder: That folder.
        stubs: Outputs by name of steps that are not run, by step id; others that are left out give nulls.
    """

    folder: Path
    stubs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, given: Settings) -> Settings:
        """Give the settings of the rehearsal of a run with those."""
        targets = {"actions": {}, "alerts": Alerts(), "slack": Slack(), "smtp": Smtp()}
        kept = {"outbox": self.folder / "outbox", "metrics": self.folder / "metrics"}
        return given.model_copy(update={**targets, **kept})

    def within(self, step_id: str) -> Rehearsal:
        """Give the rehearsal of the workflow that a step runs; its steps are stubbed as ``<step_id>/<id>``."""
        prefix = f"{step_id}/"
        inner = {name.removeprefix(prefix): stub for name, stub in self.stubs.items() if name.startswith(prefix)}
        return replace(self, stubs=inner)


@dataclass(slots=True)
class _Shared:
    """What is opened when it is first needed, and is one for a runtime and those made of it."""

    cache: Cache | None = None
    traffic: Traffic | None = None
    ledger: Ledger | None = None
    spent: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    booking: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Close what is open; it may be opened again."""
        opened = (self.cache, self.traffic, self.ledger)
        self.cache = self.traffic = self.ledger = None
        for one in opened:
            if one is not None:
                await one.aclose()


class Runtime:
    """The surroundings of running steps; an async context manager that closes its clients at the end.

    Args:
        settings: What ``orchestrator.yaml`` says of execution.
        credentials: Finds the credentials of a provider or a store; by default in ``orchestrator.yaml``, then in the usual
            variables.
        secret: Looks up ``secrets.<key>``, giving None for one that does not exist; by default in the environment.
        observer: Hears what happens.
        offline: Whether the provider ``scripted`` answers in place of every other, and the store ``local``: nothing is sent, and
            nothing is paid.
        ask: Asks a person.
        clients: Decides who answers model calls; the providers' clients by default.
        checkpoint: Keeps the answers that a step has paid for until it ends, so that another process which takes the step over does
            not pay for them again; None where there is nothing that outlives the process.
        rehearsal: How the run is rehearsed; None for a run that counts.

    Attributes:
        answers: Answers chat models' questions in their place; None for those that it has no answer to, which are asked.
        longest_wait: Most seconds to wait here between two tries of a step; a step that has to wait longer is postponed. None
            where nobody would come back to it.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        credentials: CredentialsLookup | None = None,
        secret: Callable[[str], str | None] = environment_secret,
        observer: Observer | None = None,
        offline: bool = False,
        ask: Ask = nobody,
        clients: Clients | None = None,
        checkpoint: Cache | None = None,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self.settings = settings or Settings()
        if rehearsal is not None:
            self.settings = rehearsal.settings(self.settings)
        self.secret = secret
        self.observer = observer or Observer()
        self.offline = offline
        self.ask = ask
        self.checkpoint = checkpoint
        self.rehearsal = rehearsal
        self.longest_wait: float | None = None
        self.answers: Answers | None = None
        self._clients = clients or Clients()
        self.find_credentials: CredentialsLookup = credentials or self.configured_credentials
        self.find_connection: ConnectionLookup = no_connection
        self._chat: dict[_Key, ChatClient] = {}
        self._embedding: dict[_Key, EmbeddingClient] = {}
        self._stores: dict[_Key, VectorStore] = {}
        self._shared = _Shared()
        self._object_stores: dict[tuple[str, str | None], ObjectStore] = {}

    def within(self, step_id: str, observer: Observer) -> Runtime:
        """Give the same runtime, clients and all, for the workflow that a step runs.

        Args:
            step_id: The step.
            observer: Hears what happens there.
        """
        other = copy.copy(self)
        other.observer = observer
        # The step that runs it would not come back to one of its steps.
        other.longest_wait = None
        other.rehearsal = self.rehearsal and self.rehearsal.within(step_id)
        return other

    def configured_credentials(self, provider: str, connection: str | None = None) -> Credentials:
        """Give the credentials of a provider or a store from ``orchestrator.yaml``, else from its usual variables.

        Args:
            provider: Its name.
            connection: Unused here; Airflow connections are known only inside Airflow.
        """
        # Most are providers, and to look a name up among all installed packages takes time.
        is_model = is_provider(provider) or is_provider(provider, "embedding") or not is_store(provider)
        usual = environment_credentials(provider) if is_model else store_credentials(provider)
        key = self.settings.api_keys.get(provider)
        return Credentials(
            self.settings.endpoints.get(provider) or usual.base_url,
            usual.api_key if key is None else key.get_secret_value(),
            usual.headers,
            usual.options,
        )

    def provider(self, name: str) -> str:
        """Give the provider that answers when a step asks for one of that name."""
        return "scripted" if self.offline and not self._clients.stand_in else name

    def database(self, name: str) -> str:
        """Give the vector store that answers when a step asks for one of that name."""
        return "local" if self.offline or self.rehearsal is not None else name

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
        if key not in self._chat:
            self._chat[key] = self._clients.chat(provider, lambda: chat_client(provider, self._credentials(*key)))
        return self._chat[key]

    def embedding(
        self, provider: str, *, connection: str | None = None, base_url: str | None = None
    ) -> EmbeddingClient:
        """Give the client of a provider for embeddings; arguments and errors are those of :meth:`chat`."""
        key = (provider, connection, base_url)
        if key not in self._embedding:
            self._embedding[key] = self._clients.embedding(
                provider, lambda: embedding_client(provider, self._credentials(*key))
            )
        return self._embedding[key]

    def batch(self, provider: str, connection: str | None, base_url: str | None) -> BatchClient:
        """Give a new client of a provider's batch API; the arguments and errors are those of :meth:`chat`."""
        from airflow_llm_provider.clients.batch import batch_client

        return batch_client(provider, self._credentials(provider, connection, base_url))

    def store(self, database: str, *, connection: str | None = None) -> VectorStore:
        """Give a vector store; the same one for the same arguments.

        Args:
            database: The store's name.
            connection: The Airflow connection to use; None means the store's default.

        Raises:
            ConfigurationError: The store is unknown, no client for it is installed, or its credentials are missing.
        """
        key = (database, connection, None)
        if key not in self._stores:
            self._stores[key] = vector_store(database, lambda: self._store_credentials(database, connection))
        return self._stores[key]

    def _store_credentials(self, database: str, connection: str | None) -> Credentials:
        if self.rehearsal is not None:
            return Credentials(options={"path": str(self.rehearsal.folder / "vectors.sqlite")})
        return self.find_credentials(database, connection)

    def _credentials(self, provider: str, connection: str | None, base_url: str | None) -> Credentials:
        found = self.find_credentials(provider, connection)
        return replace(found, base_url=base_url or found.base_url, timeout=self.settings.timeouts.get(provider))

    def cache(self) -> Cache | None:
        """Give what keeps answers that may be given again; None where none come from models, so that none is worth keeping.

        Raises:
            ConfigurationError: The cache of the settings cannot be used.
        """
        if self._clients.stand_in or self.rehearsal is not None:
            return None
        if self._shared.cache is None:
            self._shared.cache = open_cache(self.settings.cache)
        return self._shared.cache

    def turn(self, provider: str, model: str, place: str | None, tokens: int) -> AbstractAsyncContextManager[Call]:
        """Wait for one's turn to ask a provider; the call is made inside.

        Args:
            provider: The provider's name.
            model: The model.
            place: The Airflow connection or the address that is used; None for the provider's default.
            tokens: About how many tokens the call will use; what it has used is set inside.

        Raises:
            CircuitOpen: The model is left alone for now.
            ConfigurationError: What processes share cannot be kept where the settings say.
        """
        from airflow_llm_provider.engine.traffic import Call, Traffic

        if self._clients.stand_in or self.rehearsal is not None or provider == "scripted":
            # Nobody is asked.
            return contextlib.nullcontext(Call(tokens))
        if self._shared.traffic is None:
            settings = self.settings
            self._shared.traffic = Traffic(
                self._shared_state(), settings.circuit_breaker, settings.rate_limits, self.longest_wait
            )
        return self._shared.traffic.call(provider, model, place or "", tokens)

    def ledger(self) -> Ledger | None:
        """Give what knows what was spent, and may be; None where nothing is.

        Raises:
            ConfigurationError: What processes share cannot be kept where the settings say.
        """
        if self._clients.stand_in or self.rehearsal is not None:
            return None
        if self._shared.ledger is None:
            from airflow_llm_provider.engine.spending import Ledger

            self._shared.ledger = Ledger(self._shared_state(), self.settings.budgets, self.longest_wait)
        return self._shared.ledger

    def spent(self, payer: Payer, provider: str, usage: Usage, cost_usd: float | None) -> None:
        """Note what a call has cost, for the accounts of its workflow and its run; written down a moment later.

        Args:
            payer: On whose account it is.
            provider: Who was asked.
            usage: The call's tokens.
            cost_usd: Its price in USD; None when that is not known.
        """
        if provider == "scripted" or self._clients.stand_in or self.rehearsal is not None:
            return
        amounts = {
            "calls": 1,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": cost_usd or 0.0,
            "without_price": cost_usd is None,
        }
        self._shared.spent.setdefault((payer.workflow, payer.run_id), Counter()).update(amounts)
        if self._shared.booking is None:
            # Written down every so often, so that a killed process leaves little out; not with every call, which would cost more.
            self._shared.booking = asyncio.create_task(self._book_soon())

    async def _book_soon(self) -> None:
        await asyncio.sleep(BOOKED_EVERY)
        self._shared.booking = None
        await self._book()

    async def _book(self) -> None:
        """Write down what was spent."""
        spent, self._shared.spent = self._shared.spent, {}
        try:
            for (workflow, run_id), amounts in spent.items():
                ledger = self.ledger()
                assert ledger is not None
                await ledger.book(workflow, run_id, amounts)
        except Exception as error:
            _log.warning("what was spent cannot be written down: %s", type(error).__name__)

    def _shared_state(self) -> SharedState:
        from airflow_llm_provider.engine.sharing import open_state

        return open_state(self.settings.cache, self.settings.state)

    def price(self, provider: str | None, model: str, usage: Usage) -> float | None:
        """Give what a call costs, by the settings or by the price list.

        Args:
            provider: The provider's name; None means the one that is known for a model of that name.
            model: The model.
            usage: The call's tokens.

        Returns:
            USD; None when the price is not known.
        """
        from airflow_llm_provider.accounting.prices import cost_usd

        return cost_usd(provider, model, usage, self.settings.prices)

    def object_store(self, scheme: str, connection: str | None = None) -> ObjectStore:
        """Give what the objects of a scheme are reached by; blocks while it is made for the first time.

        Args:
            scheme: The scheme of a URL, such as ``s3``.
            connection: The Airflow connection with the credentials; None means the settings, then the usual environment.

        Raises:
            ConfigurationError: A package, or a connection that is named, is missing, or its fields cannot be used.
            InvalidRequest: Nothing knows the scheme.
        """
        key = (scheme, connection)
        if key not in self._object_stores:
            from airflow_llm_provider.clients.objects import open_store

            fields = None if connection is None else self.find_connection(connection)
            self._object_stores[key] = open_store(scheme, self.settings.storage, fields)
        return self._object_stores[key]

    async def __aenter__(self) -> Self:
        """Begin."""
        if self.settings.blocking_threads is not None:
            threads = ThreadPoolExecutor(self.settings.blocking_threads, thread_name_prefix="blocking")
            asyncio.get_running_loop().set_default_executor(threads)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every client and store."""
        opened: tuple[dict[_Key, ChatClient] | dict[_Key, EmbeddingClient] | dict[_Key, VectorStore], ...]
        opened = (self._chat, self._embedding, self._stores)
        for clients in opened:
            for client in clients.values():
                await client.aclose()
            clients.clear()
        if self._shared.booking is not None:
            self._shared.booking.cancel()
            self._shared.booking = None
        await self._book()
        if self.checkpoint is not None:
            await self.checkpoint.aclose()
        await self._shared.aclose()

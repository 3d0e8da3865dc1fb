"""Many questions at half the price: what clients of batch APIs speak.

A batch is handed in as a whole, is worked on within a day, and gives the answers by the ids of its questions, in any order. Clients
are found through the entry point group ``airflow_llm_provider.batch_clients``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from airflow_llm_provider.clients.base import ChatRequest, ChatResponse, Credentials
from airflow_llm_provider.errors import InvalidRequest, StepError
from airflow_llm_provider.registry import Registry

if TYPE_CHECKING:
    import httpx

__all__ = ["PRICE", "BatchClient", "BatchState", "BatchStatus", "batch_client", "batch_providers", "check_ids"]

PRICE = 0.5
"""Part of the usual price that a question costs in a batch, at both vendors."""

BatchState = Literal["running", "ended", "failed", "expired", "cancelled"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_CLIENTS = Registry("airflow_llm_provider.batch_clients", "provider of batches")


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How a batch stands.

    Attributes:
        id: The batch.
        state: ``running``, or how it has ended; what was answered until then can be had of an expired or cancelled one, too.
        total: Questions in it.
        succeeded: Those that are answered.
        failed: Those that cannot be.
        error: Why it failed as a whole; None unless it did.
    """

    id: str
    state: BatchState
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    error: str | None = None


@runtime_checkable
class BatchClient(Protocol):
    """A client of one provider's batch API."""

    async def submit(self, requests: Mapping[str, ChatRequest], name: str) -> str:
        """Hand questions in.

        Args:
            requests: Id to question; ids are of at most 64 letters, digits, ``_`` and ``-``.
            name: The same for the same work, so that :meth:`find` finds the batch again.

        Returns:
            The batch's id.

        Raises:
            InvalidRequest: There are none, too many, or one has an id that cannot be used.
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def find(self, name: str, known: Collection[str] = ()) -> str | None:
        """Find a batch that was handed in before, and has not failed or been given up.

        Args:
            name: Its name.
            known: Ids of batches that are not it, although they have the name.

        Returns:
            Its id; None when there is none among the last hundred, or the API does not keep names.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def status(self, batch_id: str) -> BatchStatus:
        """Tell how a batch stands.

        Args:
            batch_id: The batch.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    def results(self, batch_id: str) -> AsyncGenerator[tuple[str, ChatResponse | StepError], None]:
        """Read what came of the questions, one by one and in any order.

        Args:
            batch_id: A batch that has ended.

        Yields:
            The question's id, and the answer or why there is none.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def cancel(self, batch_id: str) -> None:
        """Give a batch up; what is answered already can be had, and is paid.

        Args:
            batch_id: The batch.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Close the connections."""
        ...  # pragma: no cover - protocol


def batch_providers() -> list[str]:
    """Give the names of all providers that take batches."""
    return _CLIENTS.names()


def batch_client(provider: str, credentials: Credentials, *, http: httpx.AsyncClient | None = None) -> BatchClient:
    """Give a new client.

    Args:
        provider: The provider's name.
        credentials: How to reach it.
        http: Makes the calls and stays open when the client is closed; None means a new one of the client's own.

    Raises:
        ConfigurationError: The provider takes no batches, or its credentials lack something.
    """
    new = _CLIENTS.find(provider)
    client: BatchClient = new(credentials) if http is None else new(credentials, http=http)
    return client


def check_ids(requests: Mapping[str, ChatRequest], most: int) -> None:
    """Refuse what no batch can be.

    Args:
        requests: Id to question.
        most: Most questions of one batch.

    Raises:
        InvalidRequest: There are none, too many, or one has an id that cannot be used.
    """
    if not requests:
        raise InvalidRequest("a batch needs at least one question")
    if len(requests) > most:
        raise InvalidRequest(f"a batch takes {most} questions, and these are {len(requests)}; hand them in as several")
    for request_id in requests:
        if not _ID.fullmatch(request_id):
            raise InvalidRequest(
                f"{request_id!r} is no id of a question in a batch; use at most 64 letters, digits, '_' and '-'"
            )

"""What every vector store speaks.

An index holds vectors of one length, each with an id and metadata, apart from one another by namespace. A store does one
operation at a time; retries and timeouts belong to the engine. Failures are the classes of :mod:`airflow_llm_provider.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.stores.filters import Filter

__all__ = ["Found", "Item", "VectorStore", "check_length"]


@dataclass(frozen=True, slots=True)
class Item:
    """One vector to be kept.

    Attributes:
        id: Its id within index and namespace.
        vector: Finite numbers, at least one.
        metadata: JSON values by name; what a search filters by and gives back.
    """

    id: str
    vector: Sequence[float]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """One result of a search.

    Attributes:
        id: The item's id.
        score: Cosine similarity with the vector asked for, -1 to 1.
        metadata: The item's metadata.
        vector: The item's vector; None when the search did not ask for it.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]
    vector: list[float] | None = None


@runtime_checkable
class VectorStore(Protocol):
    """One vector store."""

    async def upsert(self, index: str, items: Sequence[Item], *, namespace: str = "") -> int:
        """Keep items, replacing those of the same ids; an index begins with its first item.

        Args:
            index: The index.
            items: The items; of several with one id the last counts.
            namespace: Where in the index.

        Returns:
            How many items were kept.

        Raises:
            StepError: What went wrong; ``InvalidRequest`` when a vector has another length than the index.
        """
        ...  # pragma: no cover - protocol

    async def search(
        self,
        index: str,
        vector: Sequence[float],
        *,
        top_k: int,
        filter: Filter | None = None,
        namespace: str = "",
        include_vectors: bool = False,
    ) -> list[Found]:
        """Find the nearest items.

        Args:
            index: The index; one that does not exist gives nothing.
            vector: What to be near to.
            top_k: Most results.
            filter: What the items' metadata must meet.
            namespace: Where in the index.
            include_vectors: Whether the results have their vectors.

        Returns:
            The results, the best first, and those of one score by id.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def delete(self, index: str, which: Sequence[str] | Filter, *, namespace: str = "") -> int:
        """Delete items.

        Args:
            index: The index.
            which: Ids, or what the items' metadata must meet.
            namespace: Where in the index.

        Returns:
            How many items were deleted; what does not exist does not count.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def count(self, index: str, *, filter: Filter | None = None, namespace: str = "") -> int:
        """Count items.

        Args:
            index: The index; one that does not exist has none.
            filter: What the items' metadata must meet.
            namespace: Where in the index.

        Raises:
            StepError: What went wrong.
        """
        ...  # pragma: no cover - protocol

    async def aclose(self) -> None:
        """Give connections back."""
        ...  # pragma: no cover - protocol


def check_length(index: str, expected: int, given: int) -> None:
    """Refuse a vector of another length than its index has.

    Args:
        index: The index.
        expected: Numbers in its vectors.
        given: Numbers in the vector.

    Raises:
        InvalidRequest: They differ.
    """
    if given != expected:
        raise InvalidRequest(
            f"the index {index!r} holds vectors of {expected} numbers, and this one has {given}; embed with one model and the "
            "same 'dimensions' for storing and for searching"
        )

"""What vector stores that are reached over HTTP share: exact filters, whatever a store's own language can say.

Stores differ in what their filters mean for lists, missing members, numbers and texts. So each item is kept with a list of
*terms*, one for each value that its metadata can be equal to (:func:`terms_of`), and equality is asked of a store as "has this
term". What a store cannot express is left out of what it is asked, which then gives too much, and the filter itself is applied to
what comes back.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

from airflow_llm_provider.clients.http import HttpClient
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.stores.base import Found, Item, check_length
from airflow_llm_provider.stores.filters import AllOf, AnyOf, Comparison, Filter, Scalar

__all__ = ["Condition", "Kept", "RemoteStore", "terms_of"]


def _term(field: str, value: Scalar) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer():
        # 5 equals 5.0.
        value = int(value)
    told = json.dumps([field, value], ensure_ascii=False)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def terms_of(metadata: Mapping[str, Any]) -> list[str]:
    """Give a term for each value that a member of the metadata equals.

    Args:
        metadata: An item's metadata.
    """
    return sorted(
        {
            _term(field, member)
            for field, value in metadata.items()
            for member in (value if isinstance(value, list) else [value])
            if isinstance(member, (str, int, float))
        }
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """What a store is asked for.

    Attributes:
        asked: In the store's language; None asks for all.
        exact: Whether what comes back needs no further look.
    """

    asked: Any = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """An item as a store keeps it.

    Attributes:
        id: The item's own id.
        metadata: Its metadata, as JSON.
        terms: What it equals.
        length: Length of its vector.
        direction: Its vector with the length 1; any when it has none, which some stores would refuse.
    """

    id: str
    metadata: str
    terms: list[str]
    length: float
    direction: list[float]

    @classmethod
    def of(cls, item: Item) -> Kept:
        """Make it of an item.

        Args:
            item: The item.

        Raises:
            InvalidRequest: It cannot be kept.
        """
        length = math.hypot(*item.vector)
        if not math.isfinite(length):
            raise InvalidRequest(f"the vector of item {item.id!r} is too long to compute with")
        metadata = json.dumps(item.metadata, ensure_ascii=False)
        try:
            f"{item.id}{metadata}".encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"a text of item {item.id!r} holds half a character ({error.object[error.start]!r}), which cannot be sent"
            ) from None
        return cls(item.id, metadata, terms_of(item.metadata), length, _direction(item.vector, length))


def _direction(vector: Sequence[float], length: float) -> list[float]:
    # In two steps, so that very short vectors do not lose their direction.
    scale = math.ldexp(1.0, -math.frexp(length)[1]) if length else 1.0
    rest = length * scale
    return [number * scale / rest for number in vector] if rest else [1.0, *[0.0] * (len(vector) - 1)]


class RemoteStore(HttpClient):
    """Base of the stores.

    Attributes:
        page: Most items that a store gives at once when it is asked for all of them.
        most: Most items that a search may ask for.
    """

    page: ClassVar[int] = 500
    most: ClassVar[int] = 10_000

    async def upsert(self, index: str, items: Sequence[Item], *, namespace: str = "") -> int:
        """Keep items; the arguments are those of :meth:`VectorStore.upsert`.

        Raises:
            InvalidRequest: A vector has another length than the index.
            StepError: What went wrong.
        """
        kept = {item.id: Kept.of(item) for item in items}
        if not kept:
            return 0
        dimensions = await self._dimensions(index)
        for item in items:
            check_length(index, dimensions or len(items[0].vector), len(item.vector))
        if dimensions is None:
            await self._create(index, len(items[0].vector))
        waiting = iter(kept.values())
        while part := [*islice(waiting, self.page)]:
            await self._put(index, namespace, part)
        return len(kept)

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
        """Find the nearest items; the arguments are those of :meth:`VectorStore.search`.

        Raises:
            InvalidRequest: The vector has another length than the index.
            StepError: What went wrong.
        """
        dimensions = await self._dimensions(index)
        if dimensions is None:
            return []
        check_length(index, dimensions, len(vector))
        condition = self._condition(filter)
        direction = _direction(vector, math.hypot(*vector))
        # One more than is wanted, so that those of one score are told apart by id.
        limit = min(self.most, top_k + 1 if condition.exact else max(100, 4 * top_k))
        while True:
            found = await self._nearest(index, namespace, direction, limit, condition.asked, include_vectors)
            fitting = [item for item in found if condition.exact or filter is None or filter.matches(item.metadata)]
            if len(fitting) >= top_k or len(found) < limit or limit == self.most:
                break
            limit = min(self.most, 4 * limit)
        if not any(vector):
            fitting = [replace(item, score=0.0) for item in fitting]
        fitting.sort(key=lambda item: (-round(item.score, 6), item.id))
        return fitting[:top_k]

    async def delete(self, index: str, which: Sequence[str] | Filter, *, namespace: str = "") -> int:
        """Delete items; the arguments are those of :meth:`VectorStore.delete`.

        Raises:
            StepError: What went wrong.
        """
        if await self._dimensions(index) is None:
            return 0
        if isinstance(which, Filter):
            ids = [item_id async for item_id in self._ids(index, namespace, which)]
        else:
            ids = await self._existing(index, namespace, [*dict.fromkeys(which)])
        waiting = iter(ids)
        while part := [*islice(waiting, self.page)]:
            await self._remove(index, namespace, part)
        return len(ids)

    async def count(self, index: str, *, filter: Filter | None = None, namespace: str = "") -> int:
        """Count items; the arguments are those of :meth:`VectorStore.count`.

        Raises:
            StepError: What went wrong.
        """
        if await self._dimensions(index) is None:
            return 0
        condition = self._condition(filter)
        if condition.exact:
            counted = await self._count(index, namespace, condition.asked)
            if counted is not None:
                return counted
        return len([item_id async for item_id in self._ids(index, namespace, filter)])

    async def _ids(self, index: str, namespace: str, filter: Filter | None) -> AsyncIterator[str]:
        condition = self._condition(filter)
        async for item_id, metadata in self._all(index, namespace, condition.asked):
            if filter is None or condition.exact or filter.matches(json.loads(metadata)):
                yield item_id

    def _condition(self, filter: Filter | None) -> Condition:
        """Write a filter in the store's language."""
        if filter is None:
            return Condition()
        if isinstance(filter, Comparison):
            if filter.operator in ("$eq", "$ne", "$in", "$nin"):
                wanted = filter.value if isinstance(filter.value, tuple) else (filter.value,)
                negated = filter.operator in ("$ne", "$nin")
                asked = self._has_any([_term(filter.field, value) for value in wanted], negated) if wanted else None
            else:
                asked = None
            return Condition(asked, asked is not None)
        assert isinstance(filter, (AllOf, AnyOf))
        parts = [self._condition(inner) for inner in filter.filters]
        exact = all(part.exact for part in parts)
        asked = [part.asked for part in parts if part.asked is not None]
        if isinstance(filter, AllOf):
            return Condition(self._all_of(asked) if asked else None, exact)
        return Condition(self._any_of(asked) if len(asked) == len(parts) else None, exact)

    def _found(
        self, item_id: str, score: float, metadata: str, length: float, direction: Sequence[float] | None
    ) -> Found:
        vector = None if direction is None else [number * length for number in direction]
        # What has no length is near to nothing.
        score = max(-1.0, min(1.0, score)) if length else 0.0
        return Found(item_id, score, json.loads(metadata), vector)

    @abstractmethod
    def _has_any(self, terms: Sequence[str], negated: bool) -> Any | None:
        """Ask for items that have one of some terms, or none of them; None where the store cannot be asked so."""

    @abstractmethod
    def _all_of(self, asked: Sequence[Any]) -> Any:
        """Ask for items that meet all of some conditions."""

    @abstractmethod
    def _any_of(self, asked: Sequence[Any]) -> Any:
        """Ask for items that meet one of some conditions."""

    @abstractmethod
    async def _dimensions(self, index: str) -> int | None:
        """Give the length of an index's vectors; None when there is no such index."""

    @abstractmethod
    async def _create(self, index: str, dimensions: int) -> None:
        """Make an index, unless somebody else just has."""

    @abstractmethod
    async def _put(self, index: str, namespace: str, items: Sequence[Kept]) -> None:
        """Keep items, at most a page."""

    @abstractmethod
    async def _nearest(
        self, index: str, namespace: str, direction: Sequence[float], limit: int, asked: Any, with_vectors: bool
    ) -> list[Found]:
        """Give the nearest items."""

    @abstractmethod
    def _all(self, index: str, namespace: str, asked: Any) -> AsyncIterator[tuple[str, str]]:
        """Give id and metadata of all items."""

    @abstractmethod
    async def _existing(self, index: str, namespace: str, ids: Sequence[str]) -> list[str]:
        """Give those of some ids that there are items of."""

    @abstractmethod
    async def _remove(self, index: str, namespace: str, ids: Sequence[str]) -> None:
        """Delete items, at most a page."""

    @abstractmethod
    async def _count(self, index: str, namespace: str, asked: Any) -> int | None:
        """Count items; None where the store cannot."""

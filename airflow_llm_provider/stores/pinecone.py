"""``pinecone``: vectors in Pinecone, by its REST API.

Each index is a serverless one, made with its first item in the cloud and the region that the connection's options name. What was
written may take some seconds until a search finds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import InvalidRequest, ServiceUnavailable, StepError
from airflow_llm_provider.stores.base import Found
from airflow_llm_provider.stores.remote import Kept, RemoteStore

__all__ = ["PineconeStore"]

_API_VERSION = "2025-01"
_LONGEST_ID = 512
_LONGEST_METADATA = 40_960
"""Bytes that Pinecone keeps with an item."""


class PineconeStore(RemoteStore):
    """Vectors in a Pinecone project.

    Args:
        credentials: The API key; an address when it is not Pinecone's own. ``options`` may hold ``cloud`` (``aws``) and ``region``
            (``us-east-1``) of new indexes.

    Raises:
        ConfigurationError: There is no API key.
    """

    provider = "pinecone"
    default_base_url = "https://api.pinecone.io"
    api_key_variable = "PINECONE_API_KEY"
    base_url_variable = "PINECONE_CONTROLLER_HOST"
    page = 100

    def __init__(self, credentials: Credentials, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(credentials, http)
        self._headers.setdefault("x-pinecone-api-version", _API_VERSION)
        self._credentials = credentials
        self._indexes: dict[str, tuple[int, _Index]] = {}

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the header that carries the key."""
        return {"api-key": key}

    def _has_any(self, terms: Sequence[str], negated: bool) -> Any | None:
        # What a negation means for items without terms is not documented.
        return None if negated else {"terms": {"$in": list(terms)}}

    def _all_of(self, asked: Sequence[Any]) -> Any:
        return {"$and": list(asked)}

    def _any_of(self, asked: Sequence[Any]) -> Any:
        return {"$or": list(asked)}

    async def _dimensions(self, index: str) -> int | None:
        if index not in self._indexes:
            try:
                told = await self.call("GET", f"/indexes/{_index_name(index)}")
            except StepError as error:
                if error.status == 404:
                    return None
                raise
            with self.reading():
                if not told["status"]["ready"]:
                    raise ServiceUnavailable(f"pinecone: the index {index!r} is not ready yet")
                if told["metric"] != "cosine":
                    raise InvalidRequest(
                        f"pinecone: the index {index!r} has the metric {told['metric']!r}; 'cosine' is needed"
                    )
                self._indexes[index] = told["dimension"], _Index(self._credentials, told["host"], self._http)
        return self._indexes[index][0]

    async def _create(self, index: str, dimensions: int) -> None:
        options = self._credentials.options
        place = {"cloud": options.get("cloud") or "aws", "region": options.get("region") or "us-east-1"}
        body = {"name": _index_name(index), "dimension": dimensions, "metric": "cosine", "spec": {"serverless": place}}
        try:
            await self.call("POST", "/indexes", body)
        except StepError as error:
            # Somebody else was faster.
            if error.status != 409:
                raise
        for _ in range(60):
            try:
                await self._dimensions(index)
            except ServiceUnavailable:
                await asyncio.sleep(1)
            else:
                return
        raise ServiceUnavailable(f"pinecone: the index {index!r} was not ready within a minute")

    def _at(self, index: str) -> _Index:
        return self._indexes[index][1]

    async def _put(self, index: str, namespace: str, items: Sequence[Kept]) -> None:
        for item in items:
            if len(item.metadata.encode()) > _LONGEST_METADATA:
                raise InvalidRequest(
                    f"the metadata of item {item.id!r} have more than the {_LONGEST_METADATA} bytes that Pinecone keeps; "
                    "cut its text"
                )
        vectors = [
            {
                "id": _vector_id(item.id),
                "values": item.direction,
                "metadata": {"id": item.id, "json": item.metadata, "terms": item.terms, "length": item.length},
            }
            for item in items
        ]
        await self._at(index).call("POST", "/vectors/upsert", {"vectors": vectors, "namespace": namespace})

    async def _nearest(
        self, index: str, namespace: str, direction: Sequence[float], limit: int, asked: Any, with_vectors: bool
    ) -> list[Found]:
        body: dict[str, Any] = {
            "vector": list(direction),
            "topK": limit,
            "namespace": namespace,
            "includeMetadata": True,
            "includeValues": with_vectors,
        }
        if asked is not None:
            body["filter"] = asked
        answer = await self._at(index).call("POST", "/query", body)
        with self.reading():
            found = []
            for match in answer["matches"]:
                kept = match["metadata"]
                given = (kept["id"], match["score"], kept["json"], kept["length"])
                found.append(self._found(*given, match["values"] if with_vectors else None))
            return found

    async def _all(self, index: str, namespace: str, asked: Any) -> AsyncIterator[tuple[str, str]]:
        params: dict[str, Any] = {"namespace": namespace, "limit": self.page}
        while True:
            answer = await self._at(index).call("GET", "/vectors/list", params=params)
            with self.reading():
                ids = [entry["id"] for entry in answer.get("vectors", ())]
                following = (answer.get("pagination") or {}).get("next")
            for kept in await self._fetched(index, namespace, ids):
                # The list takes no filter, so what the terms say is looked at here.
                if asked is None or _meets(kept["terms"], asked):
                    yield kept["id"], kept["json"]
            if not following:
                return
            params["paginationToken"] = following

    async def _existing(self, index: str, namespace: str, ids: Sequence[str]) -> list[str]:
        found = []
        for start in range(0, len(ids), self.page):
            part = [_vector_id(item_id) for item_id in ids[start : start + self.page]]
            found += [kept["id"] for kept in await self._fetched(index, namespace, part)]
        return found

    async def _fetched(self, index: str, namespace: str, vector_ids: Sequence[str]) -> list[Mapping[str, Any]]:
        if not vector_ids:
            return []
        params = {"ids": list(vector_ids), "namespace": namespace}
        answer = await self._at(index).call("GET", "/vectors/fetch", params=params)
        with self.reading():
            return [vector["metadata"] for vector in answer["vectors"].values()]

    async def _remove(self, index: str, namespace: str, ids: Sequence[str]) -> None:
        body = {"ids": [_vector_id(item_id) for item_id in ids], "namespace": namespace}
        await self._at(index).call("POST", "/vectors/delete", body)

    async def _count(self, index: str, namespace: str, asked: Any) -> int | None:
        if asked is not None:
            return None
        answer = await self._at(index).call("POST", "/describe_index_stats", {})
        with self.reading():
            return int(answer.get("namespaces", {}).get(namespace, {}).get("vectorCount", 0))


class _Index(PineconeStore):
    """One index, which has an address of its own."""

    def __init__(self, credentials: Credentials, host: str, http: httpx.AsyncClient) -> None:
        address = host if "://" in host else f"https://{host}"
        super().__init__(Credentials(address, credentials.api_key, credentials.headers), http)


def _index_name(index: str) -> str:
    """Give the name of an index; Pinecone takes small letters, digits and hyphens."""
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?", index):
        return index
    slug = re.sub(r"[^a-z0-9]+", "-", index.lower()).strip("-")[:24].strip("-")
    return f"{slug or 'index'}-{hashlib.sha256(index.encode()).hexdigest()[:16]}"


def _vector_id(item_id: str) -> str:
    """Give the id of an item's vector; Pinecone takes ASCII only."""
    if item_id and item_id.isascii() and item_id.isprintable() and len(item_id) <= _LONGEST_ID:
        return item_id
    return hashlib.sha256(item_id.encode()).hexdigest()


def _meets(terms: Sequence[str], asked: Mapping[str, Any]) -> bool:
    if "$and" in asked:
        return all(_meets(terms, part) for part in asked["$and"])
    if "$or" in asked:
        return any(_meets(terms, part) for part in asked["$or"])
    return not {*asked["terms"]["$in"]}.isdisjoint(terms)

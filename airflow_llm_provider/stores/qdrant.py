"""``qdrant``: vectors in Qdrant, by its REST API (1.10 and above).

Each index is a collection, made with its first item. A namespace is a member of the points' payload.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow_llm_provider.errors import StepError
from airflow_llm_provider.stores.base import Found
from airflow_llm_provider.stores.remote import Kept, RemoteStore

__all__ = ["QdrantStore"]

_IDS = uuid.UUID("8c1e3fbc-6f4c-4f0e-9b1a-2d2f1f0c7a51")
"""Qdrant's ids are numbers and UUIDs; the UUID of an item is made of its namespace and its id."""


class QdrantStore(RemoteStore):
    """Vectors in a Qdrant.

    Args:
        credentials: Address and API key.

    Raises:
        ConfigurationError: There is no address.
    """

    provider = "qdrant"
    default_base_url = "http://localhost:6333"
    has_one_address = False
    needs_key = False
    api_key_variable = "QDRANT_API_KEY"
    base_url_variable = "QDRANT_URL"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the header that carries the key."""
        return {"api-key": key}

    def _has_any(self, terms: Sequence[str], negated: bool) -> Any:
        has = {"key": "terms", "match": {"any": list(terms)}}
        return {"must_not": [has]} if negated else has

    def _all_of(self, asked: Sequence[Any]) -> Any:
        return {"must": list(asked)}

    def _any_of(self, asked: Sequence[Any]) -> Any:
        return {"should": list(asked)}

    async def _dimensions(self, index: str) -> int | None:
        try:
            answer = await self.call("GET", _collection(index))
        except StepError as error:
            if error.status == 404:
                return None
            raise
        with self.reading():
            return int(answer["result"]["config"]["params"]["vectors"]["size"])

    async def _create(self, index: str, dimensions: int) -> None:
        try:
            await self.call("PUT", _collection(index), {"vectors": {"size": dimensions, "distance": "Cosine"}})
        except StepError as error:
            # Somebody else was faster.
            if error.status != 409:
                raise
        for field in ("namespace", "terms"):
            wanted = {"field_name": field, "field_schema": "keyword"}
            await self.call("PUT", f"{_collection(index)}/index", wanted, params={"wait": "true"})

    async def _put(self, index: str, namespace: str, items: Sequence[Kept]) -> None:
        points = [
            {
                "id": _point_id(namespace, item.id),
                "vector": item.direction,
                "payload": {
                    "namespace": namespace,
                    "id": item.id,
                    "metadata": item.metadata,
                    "terms": item.terms,
                    "length": item.length,
                },
            }
            for item in items
        ]
        await self.call("PUT", f"{_collection(index)}/points", {"points": points}, params={"wait": "true"})

    async def _nearest(
        self, index: str, namespace: str, direction: Sequence[float], limit: int, asked: Any, with_vectors: bool
    ) -> list[Found]:
        body = {
            "query": list(direction),
            "filter": _filter(namespace, asked),
            "limit": limit,
            "with_payload": True,
            "with_vector": with_vectors,
        }
        answer = await self.call("POST", f"{_collection(index)}/points/query", body)
        with self.reading():
            found = []
            for point in answer["result"]["points"]:
                payload = point["payload"]
                given = (payload["id"], point["score"], payload["metadata"], payload["length"])
                found.append(self._found(*given, point["vector"] if with_vectors else None))
            return found

    async def _all(self, index: str, namespace: str, asked: Any) -> AsyncIterator[tuple[str, str]]:
        body: dict[str, Any] = {"filter": _filter(namespace, asked), "limit": self.page, "with_payload": True}
        while True:
            answer = await self.call("POST", f"{_collection(index)}/points/scroll", body)
            with self.reading():
                told, following = answer["result"]["points"], answer["result"].get("next_page_offset")
                items = [(point["payload"]["id"], point["payload"]["metadata"]) for point in told]
            for item in items:
                yield item
            if following is None:
                return
            body["offset"] = following

    async def _existing(self, index: str, namespace: str, ids: Sequence[str]) -> list[str]:
        body = {"ids": [_point_id(namespace, item_id) for item_id in ids], "with_payload": ["id"]}
        answer = await self.call("POST", f"{_collection(index)}/points", body)
        with self.reading():
            return [point["payload"]["id"] for point in answer["result"]]

    async def _remove(self, index: str, namespace: str, ids: Sequence[str]) -> None:
        points = [_point_id(namespace, item_id) for item_id in ids]
        await self.call("POST", f"{_collection(index)}/points/delete", {"points": points}, params={"wait": "true"})

    async def _count(self, index: str, namespace: str, asked: Any) -> int:
        body = {"filter": _filter(namespace, asked), "exact": True}
        answer = await self.call("POST", f"{_collection(index)}/points/count", body)
        with self.reading():
            return int(answer["result"]["count"])


def _collection(index: str) -> str:
    return f"/collections/{quote(index, safe='')}"


def _point_id(namespace: str, item_id: str) -> str:
    return str(uuid.uuid5(_IDS, f"{namespace}\0{item_id}"))


def _filter(namespace: str, asked: Any) -> Mapping[str, Any]:
    here = {"key": "namespace", "match": {"value": namespace}}
    return {"must": [here] if asked is None else [here, asked]}

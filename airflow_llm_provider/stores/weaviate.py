"""``weaviate``: vectors in Weaviate, by its REST and GraphQL APIs (1.24 and above).

Each index is a class, made with its first item; as Weaviate takes only some names, the class has one made of the index's. A
namespace is a property of the objects.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow_llm_provider.errors import InvalidRequest, StepError
from airflow_llm_provider.stores.base import Found
from airflow_llm_provider.stores.remote import Kept, RemoteStore

__all__ = ["WeaviateStore"]

_IDS = uuid.UUID("5a0b6a52-53de-4c0c-8d38-6d3e0c8c64f2")
"""The UUID of an object is made of its namespace and the item's id."""


class WeaviateStore(RemoteStore):
    """Vectors in a Weaviate.

    Args:
        credentials: Address and API key.

    Raises:
        ConfigurationError: There is no address.
    """

    provider = "weaviate"
    default_base_url = "http://localhost:8080"
    has_one_address = False
    needs_key = False
    api_key_variable = "WEAVIATE_API_KEY"
    base_url_variable = "WEAVIATE_URL"

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the header that carries the key."""
        return {"authorization": f"Bearer {key}"}

    def _has_any(self, terms: Sequence[str], negated: bool) -> Any | None:
        # Older servers have no negation.
        return None if negated else f'{{path: ["terms"], operator: ContainsAny, valueText: {json.dumps(list(terms))}}}'

    def _all_of(self, asked: Sequence[Any]) -> Any:
        return f"{{operator: And, operands: [{', '.join(asked)}]}}"

    def _any_of(self, asked: Sequence[Any]) -> Any:
        return f"{{operator: Or, operands: [{', '.join(asked)}]}}"

    async def _dimensions(self, index: str) -> int | None:
        try:
            told = await self.call("GET", f"/v1/schema/{_class(index)}")
        except StepError as error:
            if error.status == 404:
                return None
            raise
        with self.reading():
            # Weaviate itself learns the length from the first object only.
            return int(told["description"].rpartition(" ")[2])

    async def _create(self, index: str, dimensions: int) -> None:
        exact = {"dataType": ["text"], "tokenization": "field"}
        plain = {"dataType": ["text"], "indexFilterable": False, "indexSearchable": False}
        body = {
            "class": _class(index),
            "description": f"Index {index!r} of LLM workflows; length of its vectors: {dimensions}",
            "vectorizer": "none",
            "vectorIndexConfig": {"distance": "cosine"},
            "properties": [
                {"name": "namespace", **exact},
                {"name": "itemId", **exact},
                {"name": "terms", "dataType": ["text[]"], "tokenization": "field"},
                {"name": "metadata", **plain},
                {"name": "length", "dataType": ["number"]},
            ],
        }
        try:
            await self.call("POST", "/v1/schema", body)
        except StepError:
            # Somebody else may have been faster.
            if await self._dimensions(index) is None:
                raise

    async def _put(self, index: str, namespace: str, items: Sequence[Kept]) -> None:
        objects = [
            {
                "class": _class(index),
                "id": _object_id(namespace, item.id),
                "vector": item.direction,
                "properties": {
                    "namespace": namespace,
                    "itemId": item.id,
                    "terms": item.terms,
                    "metadata": item.metadata,
                    "length": item.length,
                },
            }
            for item in items
        ]
        told = await self.call("POST", "/v1/batch/objects", {"objects": objects}, form=list)
        with self.reading():
            for one in told:
                for error in ((one.get("result") or {}).get("errors") or {}).get("error", ()):
                    raise InvalidRequest(f"weaviate refused an object: {error['message']}")

    async def _nearest(
        self, index: str, namespace: str, direction: Sequence[float], limit: int, asked: Any, with_vectors: bool
    ) -> list[Found]:
        vector = "vector" if with_vectors else ""
        told = await self._get(
            index,
            f"nearVector: {{vector: {json.dumps(list(direction))}}}, limit: {limit}, where: {_where(namespace, asked)}",
            f"itemId metadata length _additional {{distance {vector}}}",
        )
        with self.reading():
            found = []
            for one in told:
                beside = one["_additional"]
                given = (one["itemId"], 1 - beside["distance"], one["metadata"], one["length"])
                found.append(self._found(*given, beside["vector"] if with_vectors else None))
            return found

    async def _all(self, index: str, namespace: str, asked: Any) -> AsyncIterator[tuple[str, str]]:
        place = 0
        while True:
            arguments = f"limit: {self.page}, offset: {place}, where: {_where(namespace, asked)}"
            told = await self._get(index, arguments, "itemId metadata")
            with self.reading():
                items = [(one["itemId"], one["metadata"]) for one in told]
            for item in items:
                yield item
            if len(items) < self.page:
                return
            place += self.page

    async def _existing(self, index: str, namespace: str, ids: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(ids), self.page):
            wanted = (
                f'{{path: ["itemId"], operator: ContainsAny, valueText: {json.dumps(ids[start : start + self.page])}}}'
            )
            told = await self._get(index, f"limit: {self.page}, where: {_where(namespace, wanted)}", "itemId")
            with self.reading():
                found += [one["itemId"] for one in told]
        return found

    async def _remove(self, index: str, namespace: str, ids: Sequence[str]) -> None:
        objects = [_object_id(namespace, item_id) for item_id in ids]
        match = {
            "class": _class(index),
            "where": {"path": ["id"], "operator": "ContainsAny", "valueTextArray": objects},
        }
        await self.call("DELETE", "/v1/batch/objects", {"match": match, "output": "minimal"})

    async def _count(self, index: str, namespace: str, asked: Any) -> int:
        name = _class(index)
        told = await self._query(f"{{Aggregate {{{name}(where: {_where(namespace, asked)}) {{meta {{count}}}}}}}}")
        with self.reading():
            return int(told["Aggregate"][name][0]["meta"]["count"])

    async def _get(self, index: str, arguments: str, fields: str) -> list[Mapping[str, Any]]:
        name = _class(index)
        told = await self._query(f"{{Get {{{name}({arguments}) {{{fields}}}}}}}")
        with self.reading():
            found: list[Mapping[str, Any]] = told["Get"][name]
            return found

    async def _query(self, query: str) -> Mapping[str, Any]:
        answer = await self.call("POST", "/v1/graphql", {"query": query})
        if answer.get("errors"):
            raise InvalidRequest(f"weaviate: {answer['errors'][0].get('message')}")
        with self.reading():
            data: Mapping[str, Any] = answer["data"]
            return data


def _class(index: str) -> str:
    """Give the class of an index: a capital letter, then letters, digits and underscores."""
    name = f"Llm_{index}"
    if re.fullmatch(r"\w+", name, re.ASCII) and len(name) <= 200:
        return name
    slug = re.sub(r"\W+", "_", index, flags=re.ASCII)[:40]
    return f"Llm_{slug}_{hashlib.sha256(index.encode()).hexdigest()[:16]}"


def _object_id(namespace: str, item_id: str) -> str:
    return str(uuid.uuid5(_IDS, f"{namespace}\0{item_id}"))


def _where(namespace: str, asked: Any) -> str:
    here = f'{{path: ["namespace"], operator: Equal, valueText: {json.dumps(namespace)}}}'
    return here if asked is None else f"{{operator: And, operands: [{here}, {asked}]}}"

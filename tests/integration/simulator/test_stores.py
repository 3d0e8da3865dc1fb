"""The vendors' own clients of vector stores at the simulator, and what ours tell of their errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import AuthenticationError, ConfigurationError, InvalidRequest
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.stores import vector_store
from airflow_llm_provider.stores.base import Item, VectorStore
from airflow_llm_provider.stores.filters import parse_filter

ITEMS = [Item(name, [1.0, place], {"place": place}) for place, name in enumerate(["a", "b", "ü"])]


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer() as simulator:
        yield simulator


def opened(name: str, server: SimulatorServer, key: str = "k") -> VectorStore:
    return vector_store(name, lambda: Credentials(server.base_url, key))


async def test_qdrants_client_reads_what_ours_wrote(server: SimulatorServer) -> None:
    from qdrant_client import AsyncQdrantClient, models

    store = opened("qdrant", server)
    await store.upsert("an index", ITEMS, namespace="n")
    ours = await store.search("an index", [1, 0], top_k=3, namespace="n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = AsyncQdrantClient(url=server.base_url, api_key="k", check_compatibility=False)
    info = await client.get_collection("an index")
    assert info.config.params.vectors == models.VectorParams(size=2, distance=models.Distance.COSINE)
    here = models.FieldCondition(key="namespace", match=models.MatchValue(value="n"))
    told = await client.query_points(
        "an index", query=[1.0, 0.0], limit=3, query_filter=models.Filter(must=[here]), with_payload=True
    )
    theirs = [(point.payload["id"], pytest.approx(point.score)) for point in told.points if point.payload]
    assert [(item.id, item.score) for item in ours] == theirs
    counted = await client.count("an index", count_filter=models.Filter(must_not=[here]))
    assert counted.count == 0
    await client.close()
    await store.aclose()


def test_pinecones_client_reads_what_ours_wrote(server: SimulatorServer) -> None:
    import asyncio

    import pinecone

    async def write() -> list[tuple[str, float]]:
        store = opened("pinecone", server)
        await store.upsert("tea", ITEMS, namespace="n")
        found = await store.search(
            "tea", [1, 0], top_k=3, namespace="n", filter=parse_filter({"place": {"$in": [0, 2]}})
        )
        await store.aclose()
        return [(item.id, item.score) for item in found]

    ours = asyncio.run(write())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = pinecone.Pinecone(api_key="k", host=server.base_url)
        told = client.describe_index("tea")
        assert (told.dimension, told.metric) == (2, "cosine")
        index = client.Index(host=told.host)
        found = index.query(vector=[1.0, 0.0], top_k=3, namespace="n", include_metadata=True)
    theirs = [(match["metadata"]["id"], pytest.approx(match["score"])) for match in found["matches"]]
    assert ours == [theirs[0], theirs[2]]


@pytest.mark.parametrize("name", ["qdrant", "pinecone", "weaviate"])
async def test_a_wrong_key(server: SimulatorServer, name: str) -> None:
    store = opened(name, server, "invalid")
    with pytest.raises(AuthenticationError, match="the key is missing or wrong"):
        await store.count("i")
    await store.aclose()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("qdrant", "no address for provider 'qdrant'; set QDRANT_URL"),
        ("weaviate", "no address for provider 'weaviate'; set WEAVIATE_URL"),
        ("pinecone", "no API key for provider 'pinecone'; set PINECONE_API_KEY"),
    ],
)
def test_no_credentials(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        vector_store(name)


async def test_what_pinecone_cannot_keep(server: SimulatorServer) -> None:
    store = opened("pinecone", server)
    with pytest.raises(InvalidRequest, match="metadata of item 'a' have more than the 40960 bytes"):
        await store.upsert("i", [Item("a", [1.0], {"text": "x" * 41_000})])
    await store.aclose()


@pytest.mark.parametrize("name", ["qdrant", "pinecone", "weaviate"])
async def test_more_than_a_page(server: SimulatorServer, name: str) -> None:
    store = opened(name, server)
    items = [Item(f"i{number}", [1.0, number], {"number": number}) for number in range(1100)]
    assert await store.upsert("many", items) == 1100
    high = parse_filter({"number": {"$gte": 1000}})
    assert await store.count("many", filter=high) == 100
    found = await store.search("many", [1, 0], top_k=2, filter=high)
    assert [item.id for item in found] == ["i1000", "i1001"]
    assert await store.delete("many", parse_filter({"number": {"$lt": 1000}})) == 1000
    assert await store.count("many") == 100
    await store.aclose()

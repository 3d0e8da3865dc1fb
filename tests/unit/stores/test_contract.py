"""What all vector stores promise: the same results for the same data."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.stores import vector_store
from airflow_llm_provider.stores.base import Found, Item, VectorStore
from airflow_llm_provider.stores.filters import parse_filter

STORES = ("local", "pgvector", "qdrant", "pinecone", "weaviate")

COMPASS = [
    Item("north", [0, 1], {"lang": "en", "year": 2020, "tags": ["a", "b"], "text": "up"}),
    Item("east", [2, 0], {"lang": "en", "year": 2021.5, "tags": [], "ok": True}),
    Item("south", [0, -3], {"lang": "de", "year": 2019, "tags": ["b", 3], "ok": False}),
    Item("north-east", [1, 1], {"lang": "de", "deep": {"list": [1, "ü", None]}, "year": "2020", "a.b": "q\"'{}%s"}),
]


def credentials(name: str, path: Path, request: pytest.FixtureRequest) -> Credentials:
    if name == "local":
        return Credentials(options={"path": str(path / "vectors.sqlite")})
    if name == "pgvector":
        return Credentials(request.getfixturevalue("postgres_url"), options={"table_prefix": f"{path.name}_"[-30:]})
    simulator = request.getfixturevalue("simulator")
    simulator.simulator.stores.reset()
    return Credentials(simulator.base_url, "any-key")


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer() as server:
        yield server


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorStore]:
    opened = vector_store(request.param, lambda: credentials(request.param, tmp_path, request))
    yield opened
    await opened.aclose()


def ids(found: list[Found]) -> list[str]:
    return [item.id for item in found]


async def test_search(store: VectorStore) -> None:
    assert await store.search("i", [0, 5], top_k=10) == []
    assert await store.upsert("i", COMPASS) == 4
    found = await store.search("i", [0, 5], top_k=10)
    assert ids(found) == ["north", "north-east", "east", "south"]
    assert [item.score for item in found] == pytest.approx([1, math.sqrt(0.5), 0, -1], abs=1e-5)
    assert [item.metadata for item in found] == [COMPASS[place].metadata for place in (0, 3, 1, 2)]
    assert found[0].vector is None
    [best, other] = await store.search("i", [0, -9], top_k=2, include_vectors=True)
    assert (best.id, other.id) == ("south", "east")
    assert best.vector == pytest.approx([0, -3], abs=1e-5)


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"lang": "en"}, {"north", "east"}),
    ({"lang": {"$ne": "en"}}, {"south", "north-east"}),
    ({"year": 2020}, {"north"}),
    ({"year": 2020.0}, {"north"}),
    ({"year": "2020"}, {"north-east"}),
    ({"year": {"$gt": 2019}}, {"north", "east"}),
    ({"year": {"$gte": 2019, "$lt": 2021}}, {"north", "south"}),
    ({"year": {"$lte": "2021"}}, {"north-east"}),
    ({"tags": "b"}, {"north", "south"}),
    ({"tags": {"$ne": "b"}}, {"east", "north-east"}),
    ({"tags": {"$gt": 2}}, {"south"}),
    ({"tags": {"$in": ["a", 3]}}, {"north", "south"}),
    ({"tags": {"$nin": ["a", 3]}}, {"east", "north-east"}),
    ({"tags": {"$in": []}}, set()),
    ({"ok": True}, {"east"}),
    ({"ok": 1}, set()),
    ({"ok": {"$ne": False}}, {"north", "east", "north-east"}),
    ({"none": {"$ne": 1}}, {"north", "east", "south", "north-east"}),
    ({"none": {"$lt": 1}}, set()),
    ({"deep": "x"}, set()),
    ({"a.b": "q\"'{}%s"}, {"north-east"}),
    ({"$or": [{"lang": "de", "year": 2019}, {"tags": "a"}]}, {"north", "south"}),
    ({"$and": [{"lang": {"$gt": "da"}}, {"lang": {"$lt": "dz"}}]}, {"south", "north-east"}),
    ({"lang": {"$gte": "EN"}}, {"north", "east", "south", "north-east"}),
]


@pytest.mark.parametrize(("written", "expected"), FILTERS, ids=[str(written) for written, _ in FILTERS])
async def test_filters(store: VectorStore, written: Mapping[str, Any], expected: set[str]) -> None:
    await store.upsert("i", COMPASS)
    filter = parse_filter(written)
    found = await store.search("i", [1, 3], top_k=10, filter=filter)
    assert {*ids(found)} == expected
    assert ids(found) == [item for item in ("north", "north-east", "east", "south") if item in expected]
    assert ids(await store.search("i", [1, 3], top_k=1, filter=filter)) == ids(found)[:1]
    assert await store.count("i", filter=filter) == len(expected)
    assert await store.delete("i", filter) == len(expected)
    assert await store.count("i") == 4 - len(expected)


async def test_upsert_replaces(store: VectorStore) -> None:
    assert await store.upsert("i", []) == 0
    await store.upsert("i", COMPASS)
    assert await store.upsert("i", [Item("east", [0, 9], {"new": True}), Item("x", [1, 0]), Item("x", [0, 2])]) == 2
    assert await store.count("i") == 5
    found = await store.search("i", [0, 1], top_k=3)
    # Those of one score come by id.
    assert ids(found) == ["east", "north", "x"]
    assert found[0].metadata == {"new": True}
    assert found[2].metadata == {}


async def test_indexes_and_namespaces_are_apart(store: VectorStore) -> None:
    await store.upsert("i", [Item("a", [1, 0], {"at": "i"})])
    await store.upsert("i", [Item("a", [1, 0], {"at": "i/n"})], namespace="n")
    await store.upsert("An index; of some length: " + "x" * 80, [Item("a", [1, 0, 0], {"at": "j"})])
    found = [
        await store.search("i", [1, 0], top_k=5),
        await store.search("i", [1, 0], top_k=5, namespace="n"),
        await store.search("An index; of some length: " + "x" * 80, [1, 0, 0], top_k=5),
    ]
    assert [[item.metadata["at"] for item in items] for items in found] == [["i"], ["i/n"], ["j"]]
    assert await store.delete("i", ["a", "b"], namespace="n") == 1
    assert [await store.count("i"), await store.count("i", namespace="n"), await store.count("j")] == [1, 0, 0]
    assert await store.delete("j", ["a"]) == 0
    assert await store.delete("j", parse_filter({"x": 1})) == 0


async def test_another_length(store: VectorStore) -> None:
    await store.upsert("i", COMPASS)
    with pytest.raises(InvalidRequest, match="the index 'i' holds vectors of 2 numbers, and this one has 3"):
        await store.upsert("i", [Item("ok", [1, 2]), Item("x", [1, 2, 3])])
    with pytest.raises(InvalidRequest, match="the index 'i' holds vectors of 2 numbers, and this one has 1"):
        await store.search("i", [1], top_k=1)
    assert await store.count("i") == 4


@pytest.mark.parametrize("vector", [[0.1, 0.2], [1e-200, -3e-200], [5e250, 1.0], [0.0, 0.0], [3.0, -4.0]])
async def test_long_and_short_vectors(store: VectorStore, vector: list[float]) -> None:
    await store.upsert("i", [Item("ä", vector), Item("other", [1, 1])])
    found = await store.search("i", vector, top_k=5, include_vectors=True)
    [item] = [item for item in found if item.id == "ä"]
    assert item.vector == pytest.approx(vector, rel=1e-5, abs=1e-7 * max(map(abs, vector)))
    assert item.score == pytest.approx(1 if any(vector) else 0, abs=1e-5)


@pytest.mark.parametrize("item", [Item("a", [1.0], {"x": "\ud800"}), Item("\ud800", [1.0])])
async def test_half_a_character(store: VectorStore, item: Item) -> None:
    refused = ""
    try:
        await store.upsert("i", [item])
    except InvalidRequest as error:
        refused = str(error)
    kept = [(found.id, found.metadata) for found in await store.search("i", [1.0], top_k=1)]
    # Whoever cannot keep it says so.
    assert kept == ([] if "half a character" in refused else [(item.id, item.metadata)])


SCALARS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    st.integers(-5, 5),
    st.sampled_from([0.5, -2.25, 3.0]),
    st.booleans(),
)
VALUES = st.one_of(SCALARS, st.lists(st.one_of(SCALARS, st.none()), max_size=3), st.none(), st.just({"deep": 1}))
NAMES = st.sampled_from(["a", "b", "c d", "e.f"])
COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), SCALARS),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), SCALARS.filter(lambda value: not isinstance(value, bool))
    ),
).map(lambda pair: {pair[0]: pair[1]})
CONDITIONS = st.recursive(
    st.dictionaries(NAMES, COMPARISONS, min_size=1, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=1
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=6), written=CONDITIONS)
async def test_every_store_agrees_with_the_filter_itself(
    store: VectorStore, data: list[dict[str, Any]], written: dict[str, Any]
) -> None:
    filter = parse_filter(written)
    await store.delete("random", [str(number) for number in range(6)])
    await store.upsert("random", [Item(str(number), [1, number], metadata) for number, metadata in enumerate(data)])
    found = await store.search("random", [1, 0], top_k=10, filter=filter)
    assert ids(found) == [str(number) for number, metadata in enumerate(data) if filter.matches(metadata)]

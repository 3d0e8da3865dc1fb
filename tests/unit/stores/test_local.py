"""The embedded store: what is kept, found and deleted, also by several processes and after reopening."""

from __future__ import annotations

import asyncio
import math
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import ConfigurationError, InvalidRequest, ServiceUnavailable
from airflow_llm_provider.stores import local, vector_store
from airflow_llm_provider.stores.base import Found, Item, VectorStore
from airflow_llm_provider.stores.filters import parse_filter
from airflow_llm_provider.stores.local import LocalStore

EN = parse_filter({"lang": "en"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "vectors.sqlite"


@pytest.fixture
def store(path: Path) -> VectorStore:
    return opened(path)


def opened(path: Path) -> VectorStore:
    return vector_store("local", lambda: Credentials(options={"path": str(path)}))


COMPASS = [
    Item("north", [0, 1], {"lang": "en", "text": "up"}),
    Item("east", [2, 0], {"lang": "en"}),
    Item("south", [0, -3], {"lang": "de"}),
    Item("north-east", [1, 1], {"lang": "de", "deep": {"list": [1, "ü", None]}}),
]


def ids(found: list[Found]) -> list[str]:
    return [item.id for item in found]


async def test_search(store: VectorStore) -> None:
    assert await store.upsert("i", COMPASS) == 4
    found = await store.search("i", [0, 5], top_k=10)
    assert ids(found) == ["north", "north-east", "east", "south"]
    assert [item.score for item in found] == pytest.approx([1, math.sqrt(0.5), 0, -1])
    assert found[1].metadata == {"lang": "de", "deep": {"list": [1, "ü", None]}}
    assert found[0].vector is None
    [best] = await store.search("i", [0, 5], top_k=1, include_vectors=True)
    assert (best.id, best.vector) == ("north", [0.0, 1.0])


@pytest.mark.parametrize("vector", [[0.1, 0.2], [1e-200, -3e-200], [5e250, 1.0], [0.0, 0.0], [3.0, -4.0]])
async def test_a_vector_comes_back_with_the_precision_of_32_bits(store: VectorStore, vector: list[float]) -> None:
    await store.upsert("i", [Item("a", vector)])
    [found] = await store.search("i", [1, 1], top_k=1, include_vectors=True)
    assert found.vector == pytest.approx(vector, rel=1e-7, abs=1e-30 * max(map(abs, vector)))


async def test_filters(store: VectorStore) -> None:
    await store.upsert("i", COMPASS)
    assert ids(await store.search("i", [0, 1], top_k=10, filter=EN)) == ["north", "east"]
    assert ids(await store.search("i", [0, 1], top_k=1, filter=parse_filter({"lang": "de"}))) == ["north-east"]
    assert await store.count("i") == 4
    assert await store.count("i", filter=EN) == 2


async def test_reopened(path: Path, store: VectorStore) -> None:
    await store.upsert("i", COMPASS)
    before = await store.search("i", [1, 3], top_k=3, include_vectors=True)
    await store.aclose()
    assert await opened(path).search("i", [1, 3], top_k=3, include_vectors=True) == before


async def test_by_default_it_lies_below_the_airflow_home() -> None:
    store = LocalStore()
    await store.upsert("i", COMPASS)
    file = Path(os.environ["AIRFLOW_HOME"], "llm", "vectors.sqlite")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in file.parent.iterdir()] == ["vectors.sqlite"]


async def test_upsert_replaces(store: VectorStore) -> None:
    await store.upsert("i", COMPASS)
    assert await store.upsert("i", [Item("east", [0, 9], {"new": True})]) == 1
    assert await store.count("i") == 4
    found = await store.search("i", [0, 1], top_k=2)
    assert {item.id: item.metadata for item in found}["east"] == {"new": True}


async def test_of_several_with_one_id_the_last_counts(store: VectorStore) -> None:
    assert await store.upsert("i", [Item("a", [1]), Item("b", [1]), Item("a", [-1])]) == 2
    assert ids(await store.search("i", [1], top_k=5)) == ["b", "a"]


async def test_indexes_and_namespaces_are_apart(store: VectorStore) -> None:
    await store.upsert("i", [Item("a", [1, 0], {"at": "i"})])
    await store.upsert("i", [Item("a", [1, 0], {"at": "i/n"})], namespace="n")
    await store.upsert("j", [Item("a", [1, 0, 0], {"at": "j"})])
    found = [
        await store.search("i", [1, 0], top_k=5),
        await store.search("i", [1, 0], top_k=5, namespace="n"),
        await store.search("j", [1, 0, 0], top_k=5),
    ]
    assert [[item.metadata["at"] for item in items] for items in found] == [["i"], ["i/n"], ["j"]]
    assert await store.delete("i", ["a"], namespace="n") == 1
    assert [await store.count("i"), await store.count("i", namespace="n"), await store.count("j")] == [1, 0, 1]


async def test_delete(store: VectorStore) -> None:
    await store.upsert("i", COMPASS)
    assert await store.delete("i", ["north", "nowhere", "north"]) == 1
    assert await store.delete("i", EN) == 1
    assert await store.delete("i", EN) == 0
    assert await store.delete("i", []) == 0
    assert ids(await store.search("i", [0, 1], top_k=10)) == ["north-east", "south"]


async def test_what_does_not_exist_is_empty(path: Path, store: VectorStore) -> None:
    assert await store.search("i", [1], top_k=5) == []
    assert (await store.count("i"), await store.delete("i", ["a"]), await store.upsert("i", [])) == (0, 0, 0)
    assert not path.parent.exists(), "looking makes no file"
    await store.upsert("i", [Item("a", [1])])
    assert await store.search("j", [1, 2, 3], top_k=5) == []


async def test_vectors_of_an_index_have_one_length(store: VectorStore) -> None:
    with pytest.raises(
        InvalidRequest, match="the index 'i' holds vectors of 2 numbers, and this one has 1; embed with"
    ):
        await store.upsert("i", [Item("a", [1, 2]), Item("b", [1])])
    assert await store.count("i") == 0, "all or none"
    await store.upsert("i", COMPASS)
    with pytest.raises(InvalidRequest, match="holds vectors of 2 numbers, and this one has 3"):
        await store.search("i", [1, 2, 3], top_k=1)
    with pytest.raises(InvalidRequest, match="holds vectors of 2 numbers, and this one has 3"):
        await store.upsert("i", [Item("a", [1, 2, 3])], namespace="n")
    # An index that was emptied may begin anew.
    await store.delete("i", [item.id for item in COMPASS])
    assert await store.upsert("i", [Item("a", [1, 2, 3])]) == 1


async def test_equal_scores_are_in_order_of_ids(store: VectorStore) -> None:
    await store.upsert("i", [Item(name, [1, 1]) for name in "cab"])
    assert ids(await store.search("i", [1, 1], top_k=2)) == ["a", "b"]


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1, 1e3, 1e300])
async def test_scores_are_those_of_the_definition(store: VectorStore, scale: float) -> None:
    numbers = random.Random(7)
    vectors = {str(place): [numbers.gauss(0, 1) for _ in range(384)] for place in range(50)}
    await store.upsert("i", [Item(name, [scale * number for number in vector]) for name, vector in vectors.items()])
    query = [numbers.gauss(0, 1) for _ in range(384)]

    def cosine(vector: list[float]) -> float:
        return sum(map(float.__mul__, query, vector)) / math.hypot(*query) / math.hypot(*vector)

    expected = sorted(vectors, key=lambda name: -cosine(vectors[name]))[:10]
    found = await store.search("i", [number / scale for number in query], top_k=10)
    assert ids(found) == expected
    assert [item.score for item in found] == pytest.approx([cosine(vectors[name]) for name in expected], abs=1e-6)


async def test_a_vector_without_length_is_near_nothing(store: VectorStore) -> None:
    await store.upsert("i", [Item("zero", [0, 0]), Item("one", [0, 1])])
    assert [(item.id, item.score) for item in await store.search("i", [0, 2], top_k=2)] == [("one", 1.0), ("zero", 0.0)]
    assert [item.score for item in await store.search("i", [0, 0], top_k=2)] == [0.0, 0.0]


async def test_what_cannot_be_kept(store: VectorStore) -> None:
    with pytest.raises(InvalidRequest, match="the vector of item 'a' is too long"):
        await store.upsert("i", [Item("a", [1.7e308, 1.7e308])])
    with pytest.raises(InvalidRequest, match="holds half a character"):
        await store.upsert("i", [Item("\ud800", [1])])
    await store.upsert("i", [Item("a", [1], {"text": "half \ud800"})])
    assert (await store.search("i", [1], top_k=1))[0].metadata == {"text": "half \ud800"}


async def test_a_file_that_is_no_store(path: Path, store: VectorStore) -> None:
    path.parent.mkdir()
    path.write_text("something else, long enough to be taken for a database" * 20)
    for call in (store.count("i"), store.upsert("i", COMPASS), store.search("i", [1], top_k=1)):
        with pytest.raises(ConfigurationError, match="cannot be used: file is not a database") as caught:
            await call
        assert str(path) in str(caught.value)


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = opened(tmp_path / "file" / "vectors.sqlite")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        await store.upsert("i", COMPASS)


async def test_a_file_in_use_for_too_long_is_tried_again_later(
    path: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upsert("i", COMPASS)
    monkeypatch.setattr(local, "_WAIT", 0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(ServiceUnavailable, match="locked"):
            await store.upsert("i", COMPASS)
        assert await store.count("i") == 4, "readers do not wait for a writer"
    finally:
        other.close()


async def test_steps_of_one_process_write_at_once(store: VectorStore) -> None:
    await asyncio.gather(*(store.upsert("i", [Item(f"{n}-{m}", [n, m]) for m in range(20)]) for n in range(20)))
    assert await store.count("i") == 400


WRITER = """
import asyncio, sys
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.stores.base import Item
from airflow_llm_provider.stores.local import LocalStore

async def main(path, own):
    store = LocalStore(Credentials(options={"path": path}))
    for number in range(15):
        items = [Item(f"{own}-{number}-{place}", [1.0, number, place]) for place in range(10)]
        await store.upsert("i", [*items, Item("shared", [1.0, 0.0, 0.0], {"by": own})])
        found = await store.search("i", [1.0, number, 0.0], top_k=3)
        assert len(found) == 3, found

sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_write_at_once(path: Path, store: VectorStore) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen([*command, str(own)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for own in range(4)
    ]
    # All begin with a file that is not there yet.
    ends = await asyncio.gather(*(asyncio.to_thread(writer.communicate, "go\n") for writer in writers))
    assert [writer.returncode for writer in writers] == [0] * 4, ends
    assert await store.count("i") == 4 * 15 * 10 + 1
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_in_object_storage(tmp_path: Path) -> None:
    def there() -> VectorStore:
        return vector_store("local", lambda: Credentials(options={"path": f"file://{tmp_path}/bucket/v.sqlite"}))

    (tmp_path / "bucket").mkdir()
    store = there()
    assert await store.search("i", [0, 1], top_k=3) == []
    assert not (tmp_path / "bucket" / "v.sqlite").exists()
    await store.upsert("i", COMPASS)
    other = there()
    assert ids(await other.search("i", [0, 1], top_k=2)) == ["north", "north-east"]
    assert await other.delete("i", ["north"]) == 1
    assert await store.count("i") == 3
    for one in (store, other):
        await one.aclose()
    # What is written is whole: no journal lies beside it.
    assert [entry.name for entry in (tmp_path / "bucket").iterdir()] == ["v.sqlite"]


@pytest.mark.parametrize(
    ("path", "told"),
    [("nothing://bucket/x", "nothing knows the scheme|cannot be at"), ("file://relative/x", "is no absolute path")],
)
def test_urls_that_are_none(path: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        vector_store("local", lambda: Credentials(options={"path": path}))

"""How a vector store is found."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_llm_provider import stores
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.stores import known_stores, store_credentials, vector_store
from airflow_llm_provider.stores.base import VectorStore
from airflow_llm_provider.stores.local import LocalStore


def test_public_names() -> None:
    assert stores.__all__ == ["is_store", "known_stores", "store_credentials", "vector_store"]
    assert {*known_stores()} >= {"local", "pgvector", "pinecone", "qdrant", "weaviate"}


def test_local() -> None:
    store = vector_store("local")
    assert type(store) is LocalStore
    assert isinstance(store, VectorStore)
    assert store_credentials("local") == Credentials()


def test_an_unknown_store() -> None:
    with pytest.raises(ConfigurationError) as caught:
        vector_store("quadrant")
    assert str(caught.value) == "no vector store is called 'quadrant'; did you mean 'qdrant'?"


async def test_a_runtime_gives_one_store_for_one_name() -> None:
    async with Runtime() as runtime:
        assert runtime.store("local") is runtime.store("local")
        assert runtime.store("local") is not runtime.store("local", connection="other")
        assert runtime.database("pinecone") == "pinecone"
    async with Runtime(offline=True) as runtime:
        assert runtime.database("pinecone") == "local"


def test_the_registry_loads_no_client() -> None:
    code = (
        "import sys; import airflow_llm_provider.executors.vectors, airflow_llm_provider.executors.embed; "
        "print([name for name in ('sqlite3', 'httpx', 'openai', 'airflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

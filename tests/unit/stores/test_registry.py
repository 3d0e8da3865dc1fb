"""How a vector store is found."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest

from airflow_llm_provider import stores
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.stores import COMMON, is_store, known_stores, store_credentials, vector_store
from airflow_llm_provider.stores.base import VectorStore
from airflow_llm_provider.stores.local import LocalStore


def test_public_names() -> None:
    assert stores.__all__ == ["COMMON", "is_store", "known_stores", "store_credentials", "vector_store"]
    assert known_stores() == sorted({"local", *COMMON, *known_stores()})


def test_local() -> None:
    store = vector_store("local")
    assert type(store) is LocalStore
    assert isinstance(store, VectorStore)
    assert store_credentials("local") == Credentials()


@pytest.mark.parametrize("name", [name for name in COMMON if not is_store(name)])
def test_a_store_without_a_client(name: str) -> None:
    def never() -> NoReturn:
        raise AssertionError("credentials are not looked for")

    with pytest.raises(
        ConfigurationError, match=rf"^no client for the vector store '{name}' is installed; write 'data"
    ):
        vector_store(name, never)


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

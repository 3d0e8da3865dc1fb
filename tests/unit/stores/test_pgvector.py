"""What only the store in PostgreSQL has: its address, its errors, and several processes that make an index at once."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from airflow.sdk import Connection

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.errors import AuthenticationError, ConfigurationError, ConnectionError, InvalidRequest
from airflow_llm_provider.hooks.llm import connection_credentials
from airflow_llm_provider.stores.base import Item
from airflow_llm_provider.stores.pgvector import PgVectorStore, _parameters
from tests.conftest import free_port


def test_addresses() -> None:
    told = _parameters(Credentials("postgresql://ann:p%40ss@db:6432/vec%20tors?sslmode=require", options={"x": 1}))
    assert told == {
        "host": "db", "port": 6432, "dbname": "vec tors", "user": "ann", "password": "p@ss", "sslmode": "require",
        "connect_timeout": 10,
    }  # fmt: skip
    extra = json.dumps({"sslmode": "prefer"})
    given = Connection(
        conn_id="pg",
        conn_type="postgres",
        host="db",
        login="ann",
        password="s3cret",
        schema="my db",
        extra=extra,
    )
    told = _parameters(connection_credentials(given))
    assert told == {
        "host": "db", "dbname": "my db", "user": "ann", "password": "s3cret", "sslmode": "prefer", "connect_timeout": 10,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "no address for the vector store 'pgvector'; set PGVECTOR_URL"),
        ("https://db/vectors", "begins with 'https'; write postgresql://host:5432/database"),
    ],
)
def test_no_address(url: str | None, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        PgVectorStore(Credentials(url))


async def test_nobody_answers() -> None:
    with pytest.raises(ConnectionError) as caught:
        await PgVectorStore(Credentials(f"postgresql://ann:s3cret-word@127.0.0.1:{free_port()}/x")).count("i")
    assert "s3cret-word" not in str(caught.value)


async def test_who_may_not(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    store = PgVectorStore(Credentials(postgres_url.replace("postgres:@", "reader@")))
    with pytest.raises(AuthenticationError, match="permission denied for schema public"):
        await store.upsert("i", [Item("a", [1])])
    await store.aclose()


async def test_what_the_database_cannot_keep(postgres_url: str) -> None:
    store = PgVectorStore(Credentials(postgres_url))
    with pytest.raises(InvalidRequest, match=r"item 'a' holds the character U\+0000"):
        await store.upsert("i", [Item("a", [1], {"x": "\0"})])
    with pytest.raises(InvalidRequest, match="cannot exceed 16000"):
        await store.upsert("wide", [Item("a", [1.0] * 20_000)])
    await store.aclose()


async def test_an_index_that_several_begin_at_once(postgres_url: str) -> None:
    stores = [PgVectorStore(Credentials(postgres_url, options={"table_prefix": "at_once_"})) for _ in range(8)]
    await asyncio.gather(*(store.upsert("i", [Item(str(n), [1, n])]) for n, store in enumerate(stores)))
    assert await stores[0].count("i") == 8
    for store in stores:
        await store.aclose()


async def test_a_connection_that_broke_is_opened_again(postgres_url: str) -> None:
    store = PgVectorStore(Credentials(postgres_url))
    await store.upsert("again", [Item("a", [1])])
    with psycopg.connect(postgres_url, autocommit=True) as other:
        pid = store._connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(Exception, match="pgvector: "):
        await store.count("again")
    assert await store.count("again") == 1
    await store.aclose()

"""``pgvector``: vectors in PostgreSQL, by the extension of that name.

Each index is a table, made with its first item. A search looks at every vector of the namespace and gives the same results as the
embedded store; where that takes too long, an index that an administrator makes on the column ``vector`` (``hnsw``, with
``vector_cosine_ops``) is used by itself, and results are then as near as that index finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.clients.failures import redact
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    LLMProviderError,
    ServiceUnavailable,
)
from airflow_llm_provider.stores.base import Found, Item, check_length
from airflow_llm_provider.stores.filters import AllOf, AnyOf, Comparison, Filter

__all__ = ["PgVectorStore"]

_LONGEST_NAME = 63
"""Characters of a table's name."""

_OPTIONS = frozenset(
    {"application_name", "connect_timeout", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"}
)
"""What of a connection's extra is libpq's."""

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    namespace text NOT NULL,
    id text COLLATE "C" NOT NULL,
    metadata jsonb NOT NULL,
    exponent integer NOT NULL,
    vector vector({dimensions}) NOT NULL,
    PRIMARY KEY (namespace, id)
)
"""
# The vector times 2 to the power of `exponent` is the item's: 32 bit floats would not hold very long or very short ones.

_LOCK = 5_411_873_267_520_934_133
"""Number of the advisory lock under which tables are made: "IF NOT EXISTS" alone fails when two come at once."""

Statement = Callable[[Any], Any]


class PgVectorStore:
    """Vectors in a PostgreSQL.

    Args:
        credentials: The server as ``postgresql://user:password@host:port/database``, or an Airflow connection of the type
            ``postgres``. ``options`` may hold ``table_prefix`` (``llm_vectors_``) and libpq's ``sslmode`` and the like.

    Raises:
        ConfigurationError: The client is not installed, or there is no address.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[str] = "PGVECTOR_URL"

    def __init__(self, credentials: Credentials | None = None) -> None:
        try:
            import psycopg
        except ImportError:
            raise ConfigurationError(
                "the vector store 'pgvector' needs a client; install airflow-llm-provider[pgvector]"
            ) from None
        given = credentials or Credentials()
        if not given.base_url:
            raise ConfigurationError(
                "no address for the vector store 'pgvector'; set PGVECTOR_URL to postgresql://user:password@host:5432/database, "
                "or add an Airflow connection 'pgvector_default' of the type postgres"
            )
        self._psycopg = psycopg
        self._parameters = _parameters(given)
        password = self._parameters.get("password")
        self._secrets = tuple(filter(None, (given.api_key, password)))
        self._prefix = str(given.options.get("table_prefix") or "llm_vectors_")
        self._connection: Any = None
        self._turn = asyncio.Lock()

    async def upsert(self, index: str, items: Sequence[Item], *, namespace: str = "") -> int:
        """Keep items, all of them or none; the arguments are those of :meth:`VectorStore.upsert`.

        Raises:
            InvalidRequest: A vector has another length than the index, or metadata hold what the database cannot.
            StepError: The database cannot be used.
        """
        rows = {item.id: _row(namespace, item) for item in items}
        if not rows:
            return 0
        async with self._using() as database:
            table = self._table(index)
            dimensions = await self._dimensions(database, index)
            if dimensions is None:
                dimensions = len(items[0].vector)
                await database.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                await database.execute("CREATE EXTENSION IF NOT EXISTS vector")
                await database.execute(self._sql(_TABLE, table=table, dimensions=self._psycopg.sql.Literal(dimensions)))
                # Another process may have been faster.
                dimensions = await self._dimensions(database, index) or dimensions
            for item in items:
                check_length(index, dimensions, len(item.vector))
            cursor = database.cursor()
            await cursor.executemany(
                self._sql(
                    "INSERT INTO {table} (namespace, id, metadata, exponent, vector) VALUES (%s, %s, %s, %s, %s) "
                    "ON CONFLICT (namespace, id) DO UPDATE SET metadata = excluded.metadata, exponent = excluded.exponent, "
                    "vector = excluded.vector",
                    table=table,
                ),
                list(rows.values()),
            )
        return len(rows)

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
            StepError: The database cannot be used.
        """
        async with self._using() as database:
            dimensions = await self._dimensions(database, index)
            if dimensions is None:
                return []
            check_length(index, dimensions, len(vector))
            where, values = _where(namespace, filter)
            cursor = await database.execute(
                self._sql(
                    # The distance from or to a vector without any length is no number.
                    "SELECT id, CASE WHEN distance = 'NaN' THEN 0 ELSE 1 - distance END, metadata, exponent, vector::text FROM ("
                    "SELECT *, vector <=> %s::vector AS distance FROM {table} WHERE " + where + ") AS near "
                    "ORDER BY CASE WHEN distance = 'NaN' THEN 1 ELSE distance END, id LIMIT %s",
                    table=self._table(index),
                ),
                (_scaled(vector)[1], *values, top_k),
            )
            return [
                Found(
                    item_id,
                    max(-1.0, min(1.0, score)),
                    metadata,
                    [math.ldexp(number, exponent) for number in json.loads(text)] if include_vectors else None,
                )
                async for item_id, score, metadata, exponent, text in cursor
            ]

    async def delete(self, index: str, which: Sequence[str] | Filter, *, namespace: str = "") -> int:
        """Delete items; the arguments are those of :meth:`VectorStore.delete`.

        Raises:
            StepError: The database cannot be used.
        """
        if isinstance(which, Filter):
            where, values = _where(namespace, which)
        else:
            where, values = _where(namespace, None)
            where, values = f"{where} AND id = ANY(%s)", [*values, list(which)]
        return await self._changed(index, "DELETE FROM {table} WHERE " + where, values)

    async def count(self, index: str, *, filter: Filter | None = None, namespace: str = "") -> int:
        """Count items; the arguments are those of :meth:`VectorStore.count`.

        Raises:
            StepError: The database cannot be used.
        """
        where, values = _where(namespace, filter)
        async with self._using() as database:
            if await self._dimensions(database, index) is None:
                return 0
            statement = self._sql("SELECT count(*) FROM {table} WHERE " + where, table=self._table(index))
            cursor = await database.execute(statement, values)
            return int((await cursor.fetchone())[0])

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _changed(self, index: str, statement: str, values: Sequence[Any]) -> int:
        async with self._using() as database:
            if await self._dimensions(database, index) is None:
                return 0
            cursor = await database.execute(self._sql(statement, table=self._table(index)), values)
            return int(cursor.rowcount)

    @contextlib.asynccontextmanager
    async def _using(self) -> AsyncIterator[Any]:
        """Give the connection for one transaction, and tell its failures as the package's errors."""
        async with self._turn:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await self._psycopg.AsyncConnection.connect(**self._parameters)
                async with self._connection.transaction():
                    yield self._connection
            except self._psycopg.Error as error:
                raise self._failure(error) from None
            except UnicodeEncodeError as error:
                raise InvalidRequest(
                    f"a text holds half a character ({error.object[error.start]!r}), which PostgreSQL cannot keep"
                ) from None

    def _failure(self, error: Any) -> LLMProviderError:
        state = error.sqlstate or ""
        told = redact(" ".join((error.diag.message_primary or str(error)).split()), self._secrets)
        if state in ("28P01", "28000", "42501") or "password" in told:
            return AuthenticationError(f"pgvector: {told}")
        if state in ("58P01", "0A000", "42704"):
            return ConfigurationError(
                f"pgvector: the server has not the extension 'vector' ({told}); install pgvector on it"
            )
        if state.startswith(("53", "57", "40", "55")):
            return ServiceUnavailable(f"pgvector: {told}")
        if state.startswith("08") or (not state and isinstance(error, self._psycopg.OperationalError)):
            return ConnectionError(f"pgvector: {told}")
        return InvalidRequest(f"pgvector: {told}")

    async def _dimensions(self, database: Any, index: str) -> int | None:
        """Give the length of an index's vectors; None when there is no such index."""
        cursor = await database.execute(
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = 'vector'",
            (self._name(index),),
        )
        row = await cursor.fetchone()
        return None if row is None else int(row[0])

    def _name(self, index: str) -> str:
        name = f"{self._prefix}{index}"
        if len(name.encode()) <= _LONGEST_NAME:
            return name
        # PostgreSQL would cut it off, and two indexes would be one.
        return f"{self._prefix[:30]}{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def _table(self, index: str) -> Any:
        return self._psycopg.sql.Identifier(self._name(index))

    def _sql(self, text: str, **parts: Any) -> Any:
        return self._psycopg.sql.SQL(text).format(**parts)


def _parameters(credentials: Credentials) -> dict[str, Any]:
    """Give what psycopg connects with."""
    url = urlsplit(credentials.base_url or "")
    if url.scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the address of the vector store 'pgvector' begins with {url.scheme or 'nothing'!r}; "
            "write postgresql://host:5432/database, or name a connection of the type postgres"
        )
    options = {name: value for name, value in credentials.options.items() if name in _OPTIONS}
    query = dict(part.partition("=")[::2] for part in url.query.split("&") if part)
    named = {
        "host": url.hostname,
        "port": url.port,
        "dbname": unquote(url.path.strip("/")),
        "user": unquote(url.username or "") or credentials.options.get("login"),
        "password": unquote(url.password or "") or credentials.api_key,
        **{name: unquote(value) for name, value in query.items()},
    }
    return {"connect_timeout": 10, **options, **{name: value for name, value in named.items() if value}}


def _scaled(vector: Sequence[float]) -> tuple[int, str]:
    """Give the exponent of 2 that brings a vector near the length 1, and what is left as the extension writes it."""
    length = math.hypot(*vector)
    if not math.isfinite(length):
        raise InvalidRequest("a vector is too long to compute with")
    exponent = math.frexp(length)[1]
    return exponent, json.dumps([math.ldexp(number, -exponent) for number in vector])


def _row(namespace: str, item: Item) -> tuple[Any, ...]:
    metadata = json.dumps(item.metadata, ensure_ascii=False)
    if "\\u0000" in metadata or "\0" in item.id + namespace:
        raise InvalidRequest(f"item {item.id!r} holds the character U+0000, which PostgreSQL cannot keep")
    return (namespace, item.id, metadata, *_scaled(item.vector))


def _where(namespace: str, filter: Filter | None) -> tuple[str, list[Any]]:
    """Write a condition as SQL, and give its values."""
    values: list[Any] = [namespace]
    where = "namespace = %s"
    if filter is not None:
        where += f" AND {_condition(filter, values)}"
    return where, values


def _condition(filter: Filter, values: list[Any]) -> str:
    if isinstance(filter, (AllOf, AnyOf)):
        word = " AND " if isinstance(filter, AllOf) else " OR "
        return f"({word.join(_condition(inner, values) for inner in filter.filters)})"
    assert isinstance(filter, Comparison)
    if filter.operator in _ORDERS:
        return _ordered(filter, values)
    # Whatever is contained in a list is contained in the list's JSON, and a scalar only in its equal.
    wanted = filter.value if isinstance(filter.value, tuple) else (filter.value,)
    parts = []
    for value in wanted:
        values += [filter.field, json.dumps(value)]
        parts.append("coalesce(metadata -> %s @> %s::jsonb, false)")
    any_of = f"({' OR '.join(parts)})" if parts else "false"
    return any_of if filter.operator in ("$eq", "$in") else f"NOT {any_of}"


_ORDERS: Mapping[str, str] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def _ordered(filter: Comparison, values: list[Any]) -> str:
    sign = _ORDERS[filter.operator]
    if isinstance(filter.value, str):
        # By code points, as everywhere else, and not by the database's language.
        kind, compared = "string", f"(member #>> '{{{{}}}}') COLLATE \"C\" {sign} %s"
    else:
        kind, compared = "number", f"(member #>> '{{{{}}}}')::numeric {sign} %s::numeric"
    values += [filter.field, filter.field, filter.field, filter.value if kind == "string" else json.dumps(filter.value)]
    return (
        "EXISTS (SELECT 1 FROM jsonb_array_elements(CASE jsonb_typeof(metadata -> %s) WHEN 'array' THEN metadata -> %s "
        "ELSE jsonb_build_array(metadata -> %s) END) AS member "
        f"WHERE CASE WHEN jsonb_typeof(member) = '{kind}' THEN {compared} ELSE false END)"
    )

"""``local``: the embedded vector store, one SQLite file below the Airflow home, or in object storage.

It needs no server and no further package, and several processes of one machine may use it at once: a write is one transaction,
and readers see the last finished one (SQLite's WAL mode, which needs a disk of this machine and no network share). A search looks
at every vector of the index, which takes some 25 µs for one of 1536 numbers: made for tens of thousands of vectors, not millions.

In object storage the file is read as a whole for each operation, and written as a whole when something has changed: any machine can
search it, but only one at a time may write.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import math
import os
import shutil
import sqlite3
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import airflow_home
from airflow_llm_provider.errors import ConfigurationError, InvalidRequest, ServiceUnavailable
from airflow_llm_provider.stores.base import Found, Item, check_length
from airflow_llm_provider.stores.filters import Filter

__all__ = ["LocalStore"]

_SCHEMA = """
CREATE TABLE vectors (
    number INTEGER PRIMARY KEY,
    index_name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    length REAL NOT NULL,
    exponent INTEGER NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (index_name, namespace, id)
)
"""
# The vector is 32 bit floats, little end first, times 2 to the power of `exponent`. `length` is that of the floats, from 0.5 to 1,
# so that scores lose nothing where vectors are very long or very short.

_WAIT = 60.0
"""Seconds that a writer waits for its turn."""

_LARGEST = 4 * 1024**3
"""Bytes of a file in object storage."""

T = TypeVar("T")


class LocalStore:
    """Vectors in one file.

    Args:
        credentials: ``options`` may hold ``path``, the file, or its URL (``s3://bucket/vectors.sqlite``); ``llm/vectors.sqlite``
            below the Airflow home when it does not. What else they hold reaches the object storage.

    Raises:
        ConfigurationError: The object storage cannot be used, or nothing knows its scheme.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None

    def __init__(self, credentials: Credentials | None = None) -> None:
        path = credentials.options.get("path") if credentials else None
        self._object: _ObjectFile | None = None
        if path and "://" in str(path):
            self._object = _ObjectFile(str(path), credentials or Credentials())
            self._path = self._object.copy
        else:
            self._path = Path(path).expanduser() if path else airflow_home() / "llm" / "vectors.sqlite"

    async def upsert(self, index: str, items: Sequence[Item], *, namespace: str = "") -> int:
        """Keep items, replacing those of the same ids; all of them or, when something is wrong, none.

        Args:
            index: The index; it begins with its first item.
            items: The items; of several with one id the last counts.
            namespace: Where in the index.

        Raises:
            InvalidRequest: A vector has another length than the index.
            ServiceUnavailable: The file is in use for too long.
        """
        rows = {item.id: (index, namespace, item.id, *_pack(item)) for item in items}

        def write(database: sqlite3.Connection) -> int:
            database.execute("BEGIN IMMEDIATE")
            length = _dimensions(database, index)
            for item in items:
                length = length or len(item.vector)
                check_length(index, length, len(item.vector))
            database.executemany(
                "INSERT INTO vectors (index_name, namespace, id, metadata, length, exponent, vector) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (index_name, namespace, id) DO UPDATE SET "
                "metadata = excluded.metadata, length = excluded.length, exponent = excluded.exponent, vector = excluded.vector",
                rows.values(),
            )
            return len(rows)

        return await self._use(write, create=True) if rows else 0

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
        """Find the nearest items by cosine similarity; the arguments are those of :meth:`VectorStore.search`.

        Raises:
            InvalidRequest: The vector has another length than the index.
            ServiceUnavailable: The file cannot be read now.
        """

        def read(database: sqlite3.Connection) -> list[Found]:
            # One snapshot for finding the best and for fetching what they hold.
            database.execute("BEGIN")
            check_length(index, _dimensions(database, index) or len(vector), len(vector))
            score = _scoring(vector)
            best = heapq.nsmallest(
                top_k,
                (
                    (-score(length, blob), item_id, number)
                    for number, item_id, length, blob in _rows(
                        database, "number, id, length, vector", index, namespace, filter
                    )
                ),
            )
            return [_found(database, number, -negative, include_vectors) for negative, _, number in best]

        return await self._use(read, default=[])

    async def delete(self, index: str, which: Sequence[str] | Filter, *, namespace: str = "") -> int:
        """Delete items; the arguments are those of :meth:`VectorStore.delete`.

        Raises:
            ServiceUnavailable: The file is in use for too long.
        """

        def write(database: sqlite3.Connection) -> int:
            database.execute("BEGIN IMMEDIATE")
            if isinstance(which, Filter):
                found = list(_rows(database, "number", index, namespace, which))
                return database.executemany("DELETE FROM vectors WHERE number = ?", found).rowcount
            return database.executemany(
                "DELETE FROM vectors WHERE index_name = ? AND namespace = ? AND id = ?",
                ((index, namespace, item_id) for item_id in which),
            ).rowcount

        return await self._use(write, default=0)

    async def count(self, index: str, *, filter: Filter | None = None, namespace: str = "") -> int:
        """Count items; the arguments are those of :meth:`VectorStore.count`.

        Raises:
            ServiceUnavailable: The file cannot be read now.
        """
        return await self._use(
            lambda database: sum(1 for _ in _rows(database, "number", index, namespace, filter)), default=0
        )

    async def aclose(self) -> None:
        """Nothing is open between two calls; a copy from object storage is removed."""
        if self._object is not None:
            self._object.remove()

    async def _use(
        self, work: Callable[[sqlite3.Connection], T], *, default: T | None = None, create: bool = False
    ) -> T:
        """Do something with the file in a thread of its own, as one transaction."""

        def go() -> T:
            with self._telling_errors(), self._object.fetched() if self._object else contextlib.nullcontext():
                if create:
                    self._create()
                elif default is not None and not self._path.exists():
                    return default
                with contextlib.closing(sqlite3.connect(self._path, timeout=_WAIT, isolation_level=None)) as database:
                    # What was stored is on the disk, also when the machine goes down.
                    database.execute("PRAGMA synchronous = FULL")
                    try:
                        result = work(database)
                    except BaseException:
                        if database.in_transaction:
                            database.execute("ROLLBACK")
                        raise
                    if database.in_transaction:
                        database.execute("COMMIT")
                    return result

        return await asyncio.to_thread(go)

    @contextlib.contextmanager
    def _telling_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            busy = isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))
            told = f"the local vector store {self._path} cannot be used: {error}"
            raise (ServiceUnavailable if busy else ConfigurationError)(told) from error
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"a name or an id holds half a character ({error.object[error.start]!r}), which the local vector store cannot keep"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"the local vector store {self._path} cannot be made: {error.strerror}") from error

    def _create(self) -> None:
        if self._path.exists():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Made under another name and then given its own: of several processes that come first at once, one wins, and nobody sees
        # a file without its table.
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        os.close(descriptor)
        try:
            with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(_SCHEMA)
            Path(name).chmod(0o640)
            with contextlib.suppress(FileExistsError):
                os.link(name, self._path)
        finally:
            Path(name).unlink()


class _ObjectFile:
    """A file in object storage, of which a copy is worked on.

    Args:
        url: Where it is.
        credentials: How to get there.

    Raises:
        ConfigurationError: The object storage cannot be used, or nothing knows its scheme.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        from airflow_llm_provider.clients.base import ConnectionFields
        from airflow_llm_provider.clients.objects import ObjectUrl, open_store
        from airflow_llm_provider.config.targets import Storage

        options = {name: value for name, value in credentials.options.items() if name not in ("path", "conn_id")}
        given = credentials.base_url or credentials.api_key or options
        fields = ConnectionFields(credentials.base_url, options.get("login"), credentials.api_key, options)
        try:
            self._url = ObjectUrl.parse(url)
            self._store = open_store(self._url.scheme, Storage(), fields if given else None)
        except (ValueError, InvalidRequest) as error:
            raise ConfigurationError(f"the local vector store cannot be at {url!r}: {error}") from None
        self._folder = Path(tempfile.mkdtemp(prefix="llm-vectors-"))
        self.copy = self._folder / "vectors.sqlite"
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def fetched(self) -> Iterator[None]:
        """Have the copy as it is there, and put it back when it has changed."""
        with self._turn:
            self._folder.mkdir(exist_ok=True)
            before = self._read()
            if before is None:
                self.copy.unlink(missing_ok=True)
            else:
                self.copy.write_bytes(before)
            yield
            after = self.copy.read_bytes() if self.copy.exists() else None
            if after is not None and after != before:
                self._store.write(self._url, after, "application/vnd.sqlite3")

    def _read(self) -> bytes | None:
        folder, _, name = self._url.path.rpartition("/")
        place = type(self._url)(self._url.scheme, folder)
        if not any(found.path == name for found in self._store.objects(place, name)):
            return None
        return self._store.read(self._url, _LARGEST)

    def remove(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _pack(item: Item) -> tuple[str, float, int, bytes]:
    length = math.hypot(*item.vector)
    if not math.isfinite(length):
        raise InvalidRequest(f"the vector of item {item.id!r} is too long to compute with")
    exponent = math.frexp(length)[1]
    blob = struct.pack(f"<{len(item.vector)}f", *(math.ldexp(number, -exponent) for number in item.vector))
    return json.dumps(item.metadata), math.hypot(*_unpack(blob)), exponent, blob


def _unpack(blob: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(blob) // 4}f", blob)


def _dimensions(database: sqlite3.Connection, index: str) -> int | None:
    row = database.execute("SELECT length(vector) FROM vectors WHERE index_name = ? LIMIT 1", (index,)).fetchone()
    return None if row is None else int(row[0]) // 4


def _rows(
    database: sqlite3.Connection, columns: str, index: str, namespace: str, filter: Filter | None
) -> Iterator[tuple[Any, ...]]:
    """Give columns of the items that a filter lets through."""
    metadata_column = "NULL" if filter is None else "metadata"
    select = f"SELECT {metadata_column}, {columns} FROM vectors WHERE index_name = ? AND namespace = ?"
    for metadata, *values in database.execute(select, (index, namespace)):
        if filter is None or filter.matches(json.loads(metadata)):
            yield tuple(values)


def _scoring(vector: Sequence[float]) -> Callable[[float, bytes], float]:
    """Give the function from the length and the floats of an item's vector to its cosine similarity."""
    own = math.hypot(*vector)
    unit = tuple(number / own for number in vector) if own else ()
    unpack = struct.Struct(f"<{len(vector)}f").unpack

    def score(length: float, blob: bytes) -> float:
        if not unit or not length:
            return 0.0
        # By the law of cosines: the distance is the one sum over two vectors that the standard library computes in C.
        cosine = (1 + length * length - math.dist(unit, unpack(blob)) ** 2) / (2 * length)
        return max(-1.0, min(1.0, cosine))

    return score


def _found(database: sqlite3.Connection, number: int, score: float, with_vector: bool) -> Found:
    item_id, metadata, exponent, blob = database.execute(
        "SELECT id, metadata, exponent, vector FROM vectors WHERE number = ?", (number,)
    ).fetchone()
    vector = [math.ldexp(value, exponent) for value in _unpack(blob)] if with_vector else None
    return Found(item_id, score, json.loads(metadata), vector)

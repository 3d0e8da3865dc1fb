"""What ``orchestrator.yaml`` says of the metadata database: the section ``database``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Duration, Section

__all__ = ["Database", "Migrations", "Pool", "sqlite_file"]

DatabaseType = Literal["postgresql", "sqlite"]

_SCHEMES: dict[str, DatabaseType] = {"postgresql": "postgresql", "postgres": "postgresql", "sqlite": "sqlite"}


class Pool(Section):
    """The connections that one process keeps: section ``database.pool``.

    Attributes:
        max_connections: Most connections of one process to the database.
        min_connections: Connections that are kept open when there is nothing to do; by default a third of the most.
        connection_timeout: Seconds to wait for the database server when a connection is opened.
    """

    max_connections: Annotated[int, Field(ge=1)] = 60
    min_connections: Annotated[int | None, Field(ge=1)] = None
    connection_timeout: Duration = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_connections is not None and self.min_connections > self.max_connections:
            raise ValueError(
                f"'min_connections' is {self.min_connections}, more than 'max_connections', {self.max_connections}"
            )
        return self

    @property
    def kept(self) -> int:
        """How many are kept open."""
        return self.min_connections or max(1, self.max_connections // 3)


class Migrations(Section):
    """How the database comes to hold the tables of the installed version: section ``database.migrations``.

    Attributes:
        auto_run: Whether a server makes the database's tables when it starts; otherwise it refuses to start until ``db migrate``
            has run.
    """

    auto_run: bool = True


class Database(Section):
    """Where Airflow keeps what it knows: section ``database``.

    Attributes:
        type: SQLite, for one machine, or PostgreSQL; by default what ``url`` says.
        url: Where the database is, such as ``postgresql://user:password@host:5432/orchestrator`` or
            ``sqlite:////folder/airflow.db``; a secret. By default a file in the home.
        pool: The connections of one process.
        migrations: When its tables are made.
    """

    type: DatabaseType | None = None
    url: SecretStr | None = None
    pool: Pool = Pool()
    migrations: Migrations = Migrations()

    @property
    def kind(self) -> DatabaseType:
        """The type, whether it is written or follows from the URL."""
        if self.type is not None:
            return self.type
        return _SCHEMES[_scheme(self.url.get_secret_value())] if self.url else "sqlite"

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.url is None:
            if self.type == "postgresql":
                raise ValueError(
                    "type 'postgresql' needs 'url', such as postgresql://user:password@host:5432/orchestrator"
                )
            return self
        url = self.url.get_secret_value()
        scheme = _scheme(url)
        if scheme not in _SCHEMES:
            raise ValueError("'url' is of no known kind; write one that begins with postgresql:// or sqlite:///")
        if self.type not in (None, _SCHEMES[scheme]):
            raise ValueError(f"type is {self.type!r}, but 'url' begins with {scheme}://; change one of them")
        if _SCHEMES[scheme] == "postgresql":
            _check_address(url)
        return self


def _scheme(url: str) -> str:
    return url.partition(":")[0].partition("+")[0].lower()


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        whole = bool(parts.path.strip("/")) and (parts.port or 5432) > 0
        # What was not encoded in a password may look like the end of the host.
        whole = whole and "@" not in parts.netloc.rpartition("@")[0] + parts.path
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(
            "'url' is no address of a database; write postgresql://user:password@host:5432/name, "
            "and characters such as / @ : # of the password as %2F %40 %3A %23"
        )


def sqlite_file(url: str) -> Path | None:
    """Give the file of an SQLite; None where the URL is of another database.

    Args:
        url: The database's URL.
    """
    scheme, _, place = url.partition("://")
    return Path(unquote(place.partition("?")[0].removeprefix("/"))) if scheme.startswith("sqlite") else None

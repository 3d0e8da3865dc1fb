"""What a backup is: an archive of the database, the home and the workflow files, with a manifest that says what it was made from.

Making one (:mod:`airflow_llm_provider.cli.backup`) and restoring it (:mod:`airflow_llm_provider.cli.restoring`) stand on this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["UNREADABLE", "entries", "postgres", "versions"]

UNREADABLE = (OSError, tarfile.TarError, EOFError, zlib.error, ValueError)
"""What reading an archive may raise that is damaged, or none."""


def entries(archive: tarfile.TarFile, folder: Path) -> Iterator[tuple[Path, tarfile.TarInfo, IO[bytes]]]:
    """Give the files of an archive, each with its place below a folder.

    The filters of tarfile are not in every Python 3.10 and 3.11.

    Args:
        archive: The archive.
        folder: An absolute path without links.

    Raises:
        TarError: It holds something else than files, or a file that would be elsewhere.
    """
    for member in archive:
        target = (folder / member.name).resolve()
        content = archive.extractfile(member) if member.isreg() and target.is_relative_to(folder) else None
        if content is None:
            raise tarfile.TarError(f"it holds {member.name!r}, which no backup does")
        with content:
            yield target, member, content


def versions() -> Mapping[str, str]:
    """Give what is installed: name, as a manifest has it, to version."""
    return {"airflow": version("apache-airflow-core"), "airflow-llm-provider": version("airflow-llm-provider")}


def postgres(configuration: Configuration, program: str, *arguments: str) -> str:
    """Run a program of PostgreSQL's client, and give what it says.

    Args:
        configuration: Names the database.
        program: Such as ``pg_dump``.
        arguments: What it is told but for the database.

    Raises:
        ConfigurationError: It is not installed, or has failed.
    """
    url = configuration.database.url
    assert url is not None
    parts = urlsplit(url.get_secret_value())
    if shutil.which(program) is None:
        raise ConfigurationError(
            f"{program} is not installed; install PostgreSQL's client, of the server's version or newer"
        )
    # The password goes by the environment, where a list of processes does not show it.
    address = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    variables = {"PGUSER": unquote(parts.username or ""), "PGPASSWORD": unquote(parts.password or "")}
    environment = {**os.environ, **{name: value for name, value in variables.items() if value}}
    place = ("--dbname", address)
    done = subprocess.run([program, *place, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"{program} failed: {' '.join(done.stderr.split())[:500]}")
    return done.stdout

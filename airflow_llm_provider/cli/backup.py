"""``llm-orchestrator backup`` and ``restore``: all that a system on one machine knows, in one file.

That is the metadata database, the workflow files, what is kept in the home (keys, the password, budgets, vectors, outbox, recorded
metrics), and the configuration. Logs are left out; what is in object storage or Redis is backed up where it is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_LEFT_OUT = ("logs", "bundles", "airflow.cfg", "plan.json", "state.json", "started.json", "supervised")
"""What is made again, or tells of processes that are gone."""


def add_parser(commands: Any) -> None:
    """Add both commands."""
    from airflow_llm_provider.cli.config import add_config_option

    for name, text, run in (
        ("backup", "keep all that a system on one machine knows in one file", _backup),
        ("restore", "bring a backup back, into an empty home and an empty database", _restore),
    ):
        parser = commands.add_parser(name, help=text)
        parser.add_argument("file", metavar="FILE", help="the backup, such as backup.tar.gz")
        add_config_option(parser)
        parser.set_defaults(run=run)


def _backup(arguments: argparse.Namespace) -> int:
    configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    target = Path(arguments.file)
    scratch = target.with_name(f".{target.name}.part")
    with tempfile.TemporaryDirectory() as folder:
        # It holds keys: nobody else may read it, not even for a moment.
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            _add_text(archive, "manifest.json", json.dumps(_manifest(configuration), indent=2))
            database = _dump(configuration, Path(folder))
            archive.add(database, "database")
            for path, name in _kept(configuration):
                archive.add(_still(path, Path(folder)), name)
    scratch.replace(target)
    print(f"{target}: {target.stat().st_size / 1024**2:.1f} MiB; it holds keys, keep it where nobody else can read it")
    return EXIT_OK


def _restore(arguments: argparse.Namespace) -> int:
    configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    home, dags = configuration.home, configuration.dags_folder
    if (home / "airflow.db").exists() or (home / "secrets.json").exists():
        raise ConfigurationError(
            f"there is a system in {home} already; restore into an empty home, or move that one away"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(arguments.file) as archive:
                _unpack(archive, Path(folder).resolve())
            manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, tarfile.TarError, ValueError) as error:
            raise ConfigurationError(f"{arguments.file} is no backup that can be read: {error}") from None
        if manifest["database"] != configuration.database.kind:
            raise ConfigurationError(
                f"the backup is of a {manifest['database']}, but the file names a {configuration.database.kind}; "
                "change database.url"
            )
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _load(configuration, Path(folder) / "database")
        for name, place in (("home", home), ("dags", dags)):
            if (Path(folder) / name).is_dir():
                shutil.copytree(Path(folder) / name, place, dirs_exist_ok=True)
    for name in ("secrets.json", "passwords.json"):
        with contextlib.suppress(FileNotFoundError):
            (home / name).chmod(0o600)
    print(f"restored the backup of {manifest['made']} into {home}; start it: llm-orchestrator server")
    return EXIT_OK


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the files of an archive below a folder; the filters of tarfile are not in every Python 3.10 and 3.11."""
    for member in archive:
        target = (folder / member.name).resolve()
        content = archive.extractfile(member) if member.isfile() and target.is_relative_to(folder) else None
        if content is None:
            raise tarfile.TarError(f"it holds {member.name!r}, which no backup does")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(member.mode & 0o777)


def _configuration(arguments: argparse.Namespace) -> Configuration | None:
    from airflow_llm_provider.cli.config import config_file, read_or_report

    return read_or_report(config_file(arguments.config), for_server=False).configuration


def _manifest(configuration: Configuration) -> dict[str, str]:
    return {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "database": configuration.database.kind,
        "airflow": version("apache-airflow-core"),
        "airflow-llm-provider": version("airflow-llm-provider"),
    }


def _kept(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """Give the files to keep, with their names in the backup."""
    home, dags = configuration.home, configuration.dags_folder
    for root, name, left_out in ((dags, "dags", ()), (home, "home", (*_LEFT_OUT, "airflow.db"))):
        for path in sorted(root.rglob("*")):
            below = path.relative_to(root)
            is_rest = path.name.endswith((".lock", ".tmp", "-wal", "-shm", "-journal")) or "__pycache__" in below.parts
            is_elsewhere = name == "home" and dags in (path, *path.parents)
            if path.is_file() and below.parts[0] not in left_out and not is_rest and not is_elsewhere:
                yield path, f"{name}/{below}"


def _still(path: Path, folder: Path) -> Path:
    """Give a file that nobody writes to: of SQLite's, a copy as of this moment."""
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return path
    return _copied(path, folder / "still.sqlite")


def _copied(source: Path, target: Path) -> Path:
    target.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(source)) as before, contextlib.closing(sqlite3.connect(target)) as after:
        before.backup(after)
    return target


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    data = text.encode()
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))


def _sqlite(configuration: Configuration) -> Path:
    url = configuration.database.url
    if url is None:
        return configuration.home / "airflow.db"
    return Path(unquote(url.get_secret_value().partition("///")[2].partition("?")[0]))


def _dump(configuration: Configuration, folder: Path) -> Path:
    target = folder / "database"
    if configuration.database.kind == "sqlite":
        source = _sqlite(configuration)
        if not source.exists():
            raise ConfigurationError(f"there is no database {source}; nothing to keep")
        return _copied(source, target)
    _postgres(configuration, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return target


def _load(configuration: Configuration, dump: Path) -> None:
    if configuration.database.kind == "sqlite":
        target = _sqlite(configuration)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dump, target)
        return
    _postgres(
        configuration,
        "pg_restore",
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        "--no-privileges",
        str(dump),
    )


def _postgres(configuration: Configuration, program: str, *arguments: str) -> None:
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

"""``llm-orchestrator backup`` and ``restore``: all that a system on one machine knows, in one file.

That is the metadata database, the workflow files, and what is kept in the home (keys, the password, budgets, vectors, outbox,
recorded metrics). ``orchestrator.yaml`` is in it to be looked at; a restored system takes its settings from the present one. Logs
are left out; what is in object storage or Redis is backed up where it is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.cli.backup_file import UNREADABLE, entries, postgres, versions
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_LEFT_OUT = ("logs", "bundles", "airflow.cfg", "airflow.db", "plan.json", "state.json", "started.json", "supervised")
"""What is made again, tells of processes that are gone, or is kept in another way."""

_PASSING = (".lock", ".tmp", "-wal", "-shm", "-journal")
"""Ends of the names of files that are nothing without the process that has made them."""


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
    path, configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    target = Path(arguments.file).absolute()
    _check_is_apart(target, configuration)
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no folder {target.parent}; make it, or name another for the backup")
    try:
        # Beside the backup is room for it, which a folder in memory may not have. Nobody else may look into this one.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:100]}.") as name:
            folder = Path(name)
            archive = _pack(configuration, path, folder)
            _check_comes_back(archive, folder)
            archive.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"the backup {target} cannot be made: {error}") from None
    print(f"{target}: {target.stat().st_size / 1024**2:.1f} MiB; it holds keys, keep it where nobody else can read it")
    return EXIT_OK


def _restore(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.restoring import restore

    _, configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    made = restore(arguments.file, configuration)
    print(f"restored the backup of {made} into {configuration.home}; start it: llm-orchestrator server")
    return EXIT_OK


def _configuration(arguments: argparse.Namespace) -> tuple[Path | None, Configuration | None]:
    from airflow_llm_provider.cli.config import config_file, read_or_report

    path = config_file(arguments.config)
    return path, read_or_report(path, for_server=False).configuration


def _check_is_apart(target: Path, configuration: Configuration) -> None:
    """Refuse a backup that this one, or the next, would hold as well."""
    home, dags, place = configuration.home.resolve(), configuration.dags_folder.resolve(), target.parent.resolve()
    below = (place / target.name).relative_to(home).parts[0] if place.is_relative_to(home) else "logs"
    if below not in _LEFT_OUT or place.is_relative_to(dags):
        raise ConfigurationError(
            f"{target} is among what is kept, and would hold itself; name a file outside of {home} and {dags}"
        )


def _pack(configuration: Configuration, path: Path | None, folder: Path) -> Path:
    """Write the archive into a folder, and give it."""
    made = folder / "archive"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    # A link is kept as what it leads to: where it is restored, that may not be.
    with (
        open(descriptor, "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz", dereference=True) as archive,
    ):
        _add_text(archive, "manifest.json", json.dumps(_manifest(configuration), indent=2))
        if path is not None:
            archive.add(path, "orchestrator.yaml")
        archive.add(_dump(configuration, folder), "database")
        for kept, name in _kept(configuration):
            # A system that runs takes files away, too.
            with contextlib.suppress(FileNotFoundError):
                archive.add(_still(kept, folder), name)
    return made


def _check_comes_back(made: Path, folder: Path) -> None:
    try:
        with tarfile.open(made) as archive:
            for _, _, content in entries(archive, folder):
                while content.read(1024**2):
                    pass
    except UNREADABLE as error:
        raise ConfigurationError(f"what was written is no backup that can be read, and was not kept: {error}") from None


def _manifest(configuration: Configuration) -> dict[str, str]:
    return {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "database": configuration.database.kind,
        **versions(),
    }


def _kept(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """Give the files to keep, with their names in the backup."""
    home, dags = configuration.home, configuration.dags_folder
    apart = {dags.resolve()}
    if configuration.sqlite_file is not None:
        apart.add(configuration.sqlite_file.resolve())
    for path in _files(dags, _is_passing):
        yield path, f"dags/{path.relative_to(dags)}"
    left_out = {home / name for name in _LEFT_OUT}
    for path in _files(home, lambda path: _is_passing(path) or path in left_out or path.resolve() in apart):
        yield path, f"home/{path.relative_to(home)}"


def _is_passing(path: Path) -> bool:
    return path.name.endswith(_PASSING) or path.name == "__pycache__"


def _files(folder: Path, is_left_out: Callable[[Path], bool], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Give the files below a folder, also those behind links, but for one that leads back to where it is."""
    real = folder.resolve()
    if real in above or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if is_left_out(path):
            continue
        if path.is_dir():
            yield from _files(path, is_left_out, (*above, real))
        elif path.is_file():
            yield path


def _still(path: Path, folder: Path) -> Path:
    """Give a file that nobody writes to: of SQLite's, a copy as of this moment."""
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return path
    copy = _copied(path, folder / "still.sqlite")
    shutil.copymode(path, copy)
    return copy


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


def _dump(configuration: Configuration, folder: Path) -> Path:
    target = folder / "database"
    source = configuration.sqlite_file
    if source is not None:
        if not source.exists():
            raise ConfigurationError(f"there is no database {source}; nothing to keep")
        return _copied(source, target)
    postgres(configuration, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return target

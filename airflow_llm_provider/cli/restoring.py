"""Brings a backup back: all is looked at before anything is written, and the database, which makes a system of it, comes last."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from airflow_llm_provider.cli.backup_file import UNREADABLE, entries, postgres, versions
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["restore"]

_BESIDE = ("", "-wal", "-shm", "-journal")
"""Ends of the names of the files that make one SQLite database."""

_PRIVATE = ("home/secrets.json", "home/passwords.json")


def restore(file: str, configuration: Configuration) -> str:
    """Restore a backup where a configuration says; when that fails, all is as it was.

    Args:
        file: The backup.
        configuration: What the present ``orchestrator.yaml`` says.

    Returns:
        When the backup was made.

    Raises:
        ConfigurationError: It is no backup, is not for here, or would take the place of something.
    """
    try:
        _check_is_empty(configuration)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            manifest = _unpacked(file, folder)
            _check_fits(manifest, configuration)
            places = dict(_places(folder, configuration))
            _check_nothing_is_lost(places)
            with contextlib.ExitStack() as undo:
                for source, target in places.items():
                    if not target.exists():
                        _place(source, target, undo)
                # What makes a system of it comes last: until then nothing is there, or all of it.
                _load(configuration, folder / "database", undo)
                undo.pop_all()
    except OSError as error:
        raise ConfigurationError(f"nothing was restored: {error}") from None
    return manifest["made"]


def _unpacked(file: str, folder: Path) -> Mapping[str, str]:
    """Write what is in a backup below a folder, and give its manifest."""
    try:
        with tarfile.open(file) as archive:
            for target, member, content in entries(archive, folder):
                _write(content, target, member.mode, mkdir=lambda path: path.mkdir(parents=True, exist_ok=True))
        return _read_manifest(folder / "manifest.json")
    except UNREADABLE as error:
        raise ConfigurationError(f"{file} is no backup that can be read: {error}") from None


def _read_manifest(path: Path) -> dict[str, str]:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in ("made", "database", *versions()) if name not in manifest]
    if missing:
        raise ValueError(f"its manifest does not say {' and '.join(missing)}")
    return {name: str(value) for name, value in manifest.items()}


def _check_is_empty(configuration: Configuration) -> None:
    home = configuration.home
    found = [home / name for name in ("airflow.db", "secrets.json")]
    database = configuration.sqlite_file
    if database is not None:
        # What a lost system has left beside it, SQLite would take for a part of the new one.
        found += [database.with_name(database.name + end) for end in _BESIDE]
    there = next((path for path in found if path.is_file() and path.stat().st_size), None)
    if there is not None:
        raise ConfigurationError(
            f"there is a system in {there.parent} already ({there.name}); restore into an empty home and an empty database, "
            "or move that one away"
        )


def _check_fits(manifest: Mapping[str, str], configuration: Configuration) -> None:
    from packaging.version import InvalidVersion, Version

    kind = configuration.database.kind
    if manifest["database"] != kind:
        raise ConfigurationError(
            f"the backup is of a {manifest['database']}, but the file names a {kind}; change database.url"
        )
    for name, installed in versions().items():
        try:
            is_newer = Version(manifest[name]) > Version(installed)
        except InvalidVersion:
            is_newer = True
        if is_newer:
            raise ConfigurationError(
                f"the backup was made with {name} {manifest[name]}, and {installed} is installed, which may not know all "
                "that is in it; install that version first"
            )
    if kind == "postgresql":
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        count = postgres(configuration, "psql", "--no-psqlrc", "--no-align", "--tuples-only", f"--command={tables}")
        if count.strip() != "0":
            raise ConfigurationError(
                f"there is a system in the database that database.url names already ({count.strip()} tables); "
                "make an empty one, and name that"
            )


def _places(folder: Path, configuration: Configuration) -> Iterator[tuple[Path, Path]]:
    """Give the files that are to be restored, each with its place."""
    for name, root in (("home", configuration.home), ("dags", configuration.dags_folder)):
        for path in sorted((folder / name).rglob("*")):
            if path.is_file():
                if f"{name}/{path.relative_to(folder / name)}" in _PRIVATE:
                    path.chmod(0o600)
                yield path, root / path.relative_to(folder / name)


def _check_nothing_is_lost(places: Mapping[Path, Path]) -> None:
    for source, target in places.items():
        if target.exists() and not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            raise ConfigurationError(f"{target} is there, and is not what the backup holds; move it away")


def _place(source: Path, target: Path, undo: contextlib.ExitStack) -> None:
    """Put a file where it belongs, and see to it that it goes again when not all of them can be put there."""

    def mkdir(path: Path) -> None:
        for folder in reversed([above for above in (path, *path.parents) if not above.exists()]):
            folder.mkdir(mode=0o700)
            undo.callback(_remove, folder.rmdir)

    with source.open("rb") as content:
        _write(content, target, source.stat().st_mode, mkdir=mkdir)
    undo.callback(_remove, target.unlink)


def _remove(remove: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        remove()


def _write(content: IO[bytes], target: Path, mode: int, mkdir: Callable[[Path], None]) -> None:
    """Write a file so that nobody reads it who may not, and there is all of it or nothing."""
    mkdir(target.parent)
    descriptor, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with open(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
        os.chmod(beside, mode & 0o777)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def _load(configuration: Configuration, dump: Path, undo: contextlib.ExitStack) -> None:
    database = configuration.sqlite_file
    if database is not None:
        dump.chmod(0o600)
        _place(dump, database, undo)
        return
    postgres(
        configuration,
        "pg_restore",
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        "--no-privileges",
        str(dump),
    )

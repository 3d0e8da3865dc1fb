"""``llm-orchestrator backup`` and ``restore``: all that a system on one machine knows, in one file.

That is the metadata database, the workflow files, and what is kept in the home (keys, the password, budgets, vectors, outbox,
recorded metrics). ``orchestrator.yaml`` is in it to be looked at; a restored system takes its settings from the present one. Logs
are left out; what is in object storage or Redis is backed up where it is.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_LEFT_OUT = ("logs", "bundles", "airflow.cfg", "airflow.db", "plan.json", "state.json", "started.json", "supervised")
"""What is made again, tells of processes that are gone, or is kept in another way."""

_PASSING = (".lock", ".tmp", "-wal", "-shm", "-journal")
"""Ends of the names of files that are nothing without the process that has made them."""

_BESIDE = ("", "-wal", "-shm", "-journal")
"""Ends of the names of the files that make one SQLite database."""

_PRIVATE = ("home/secrets.json", "home/passwords.json")

_UNREADABLE = (OSError, tarfile.TarError, EOFError, zlib.error, ValueError)
"""What reading an archive may raise that is damaged, or none."""


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
    _, configuration = _configuration(arguments)
    if configuration is None:
        return EXIT_BAD_FILE
    home = configuration.home
    _check_is_empty(configuration)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            with tarfile.open(arguments.file) as archive:
                for target, member, content in _entries(archive, folder):
                    _write(content, target, member.mode, mkdir=lambda path: path.mkdir(parents=True, exist_ok=True))
            manifest = _read_manifest(folder / "manifest.json")
        except _UNREADABLE as error:
            raise ConfigurationError(f"{arguments.file} is no backup that can be read: {error}") from None
        _check_fits(manifest, configuration)
        places = dict(_places(folder, configuration))
        _check_nothing_is_lost(places)
        try:
            with contextlib.ExitStack() as undo:
                for source, target in places.items():
                    if not target.exists():
                        _place(source, target, undo)
                # What makes a system of it comes last: until then nothing is there, or all of it.
                _load(configuration, folder / "database", undo)
                undo.pop_all()
        except OSError as error:
            raise ConfigurationError(f"nothing was restored: {error}") from None
    print(f"restored the backup of {manifest['made']} into {home}; start it: llm-orchestrator server")
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
            for _, _, content in _entries(archive, folder):
                while content.read(1024**2):
                    pass
    except _UNREADABLE as error:
        raise ConfigurationError(f"what was written is no backup that can be read, and was not kept: {error}") from None


def _entries(archive: tarfile.TarFile, folder: Path) -> Iterator[tuple[Path, tarfile.TarInfo, IO[bytes]]]:
    """Give the files of an archive, each with its place below a folder.

    The filters of tarfile are not in every Python 3.10 and 3.11.
    """
    for member in archive:
        target = (folder / member.name).resolve()
        content = archive.extractfile(member) if member.isreg() and target.is_relative_to(folder) else None
        if content is None:
            raise tarfile.TarError(f"it holds {member.name!r}, which no backup does")
        with content:
            yield target, member, content


def _manifest(configuration: Configuration) -> dict[str, str]:
    return {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "database": configuration.database.kind,
        **_versions(),
    }


def _versions() -> dict[str, str]:
    return {"airflow": version("apache-airflow-core"), "airflow-llm-provider": version("airflow-llm-provider")}


def _read_manifest(path: Path) -> dict[str, str]:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in ("made", "database", *_versions()) if name not in manifest]
    if missing:
        raise ValueError(f"its manifest does not say {' and '.join(missing)}")
    return {name: str(value) for name, value in manifest.items()}


def _kept(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """Give the files to keep, with their names in the backup."""
    home, dags = configuration.home, configuration.dags_folder
    apart = {dags.resolve()}
    if configuration.database.kind == "sqlite":
        apart.add(_sqlite(configuration).resolve())
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


def _check_is_empty(configuration: Configuration) -> None:
    home = configuration.home
    found = [home / name for name in ("airflow.db", "secrets.json")]
    if configuration.database.kind == "sqlite":
        database = _sqlite(configuration)
        # What a lost system has left beside it, SQLite would take for a part of the new one.
        found += [database.with_name(database.name + end) for end in _BESIDE]
    there = next((path for path in found if path.is_file() and path.stat().st_size), None)
    if there is not None:
        raise ConfigurationError(
            f"there is a system in {there.parent} already ({there.name}); restore into an empty home and an empty database, "
            "or move that one away"
        )


def _check_fits(manifest: dict[str, str], configuration: Configuration) -> None:
    from packaging.version import InvalidVersion, Version

    kind = configuration.database.kind
    if manifest["database"] != kind:
        raise ConfigurationError(
            f"the backup is of a {manifest['database']}, but the file names a {kind}; change database.url"
        )
    for name, installed in _versions().items():
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
        count = _postgres(configuration, "psql", "--no-psqlrc", "--no-align", "--tuples-only", f"--command={tables}")
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


def _check_nothing_is_lost(places: dict[Path, Path]) -> None:
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


def _load(configuration: Configuration, dump: Path, undo: contextlib.ExitStack) -> None:
    if configuration.database.kind == "sqlite":
        dump.chmod(0o600)
        _place(dump, _sqlite(configuration), undo)
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


def _postgres(configuration: Configuration, program: str, *arguments: str) -> str:
    """Run a program of PostgreSQL's client, and give what it says."""
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

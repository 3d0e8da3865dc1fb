"""What the commands share: reading the files they are given, and saying what is wrong with them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.files.diagnostics import Diagnostic
    from airflow_llm_provider.workflow.model import Workflow

__all__ = ["expand", "one_workflow", "report", "write_atomically", "write_once", "write_or_print"]


def expand(path: str) -> list[Path]:
    """Give a file, or all workflow files of a folder.

    Raises:
        ConfigurationError: There is nothing at that path.
    """
    from dag_factory.read import find_files

    if not Path(path).exists():
        raise ConfigurationError(f"there is no file or folder {path!r}")
    return list(find_files(path)) if Path(path).is_dir() else [Path(path)]


def report(diagnostics: Iterable[Diagnostic]) -> None:
    """Write diagnostics to the error stream, each with the line it is about."""
    for item in diagnostics:
        print(item.excerpt(), file=sys.stderr)


def one_workflow(path: str, name: str | None) -> Workflow | None:
    """Read the one workflow that a command works on.

    Args:
        path: The file.
        name: Which of the file's workflows; None when it holds only one.

    Returns:
        The workflow; None when it has errors, which were reported, with those of the file's other documents.

    Raises:
        ConfigurationError: There is no such file or workflow, or the file holds several and none is named.
    """
    from dag_factory.read import read_file

    if Path(path).is_dir():
        raise ConfigurationError(f"{path!r} is a folder; name one workflow file")
    [file] = expand(path)
    result = read_file(file)
    report(result.diagnostics)
    names = [workflow.name for workflow in result.workflows]
    # The errors of another document of the file are not this one's.
    if result.errors and name not in names:
        return None
    if name is None and len(names) == 1:
        return result.workflows[0]
    if name in names:
        return result.workflows[names.index(name)]
    raise ConfigurationError(f"{path} holds {', '.join(map(repr, names))}; choose one with --workflow")


def write_atomically(path: str | os.PathLike[str], text: str, *, mode: int | None = None) -> None:
    """Write a file in UTF-8 so that a reader sees the old one or the new one, and never a part; folders are made.

    Of what root writes, the owner is that of the file that was there, or else of the folder.

    Args:
        path: The file.
        text: What it is to hold.
        mode: Who may read and write it; by default as before, or as the process makes files.

    Raises:
        ConfigurationError: It cannot be written.
    """
    with _made_beside(path, text, mode) as (beside, target):
        os.replace(beside, target)


def write_once(path: str | os.PathLike[str], text: str, *, mode: int) -> None:
    """Write a file as :func:`write_atomically` does, unless there is one: of several that do so at once, one wins.

    Args:
        path: The file.
        text: What it is to hold.
        mode: Who may read and write it.

    Raises:
        ConfigurationError: It cannot be written.
    """
    if os.path.exists(path):
        return
    with _made_beside(path, text, mode) as (beside, target), contextlib.suppress(FileExistsError):
        os.link(beside, target)


@contextlib.contextmanager
def _made_beside(path: str | os.PathLike[str], text: str, mode: int | None) -> Iterator[tuple[str, Path]]:
    """Make the whole file under a name of its own, which is gone afterwards."""
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat() if target.exists() else None
        descriptor, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            if os.geteuid() == 0:
                owner = before or target.parent.stat()
                os.chown(beside, owner.st_uid, owner.st_gid)
            # What mkstemp makes is readable by its owner alone; the scheduler may be another user.
            usual = before.st_mode & 0o777 if before else 0o666 & ~_umask()
            os.chmod(beside, usual if mode is None else mode)
            yield beside, target
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
    except OSError as error:
        raise ConfigurationError(f"{os.fspath(path)} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_or_print(path: str | None, text: str) -> None:
    """Write a text to a file, as :func:`write_atomically` does, or to standard output.

    Args:
        path: The file; None means standard output.
        text: The text, with its last line end.
    """
    if path is None:
        print(text, end="")
    else:
        write_atomically(path, text)

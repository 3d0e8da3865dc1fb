"""Files of JSON lines that several processes append to: the outbox, the recorded metrics."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_llm_provider.workflow.values import from_json, to_json

__all__ = ["append_lines", "read_lines"]


def append_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add a line for each entry.

    Args:
        path: The file; it and its folder are made when they do not exist.
        entries: What to keep.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(to_json(entry) + "\n" for entry in entries)
    # One write to a file opened for appending: lines of several processes do not mix. fsync: the lines survive a crash.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        os.write(descriptor, lines.encode(errors="backslashreplace"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path, *, last: int) -> list[dict[str, Any]]:
    """Read the newest entries, oldest first; none where there is no file.

    Args:
        path: The file. A line that is no object, such as one that a crash cut off, is left out.
        last: Most entries.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = deque(file, maxlen=last)
    except FileNotFoundError:
        return []
    return [entry for entry in map(_entry, lines) if isinstance(entry, dict)]


def _entry(line: str) -> Any:
    try:
        return from_json(line)
    except ValueError:
        return None

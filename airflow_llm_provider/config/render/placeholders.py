"""What stands for variables that only the place of a deployment has, while its files are made elsewhere.

Files are to be the same wherever they are made: a secret that is not known there still is one. What must be of a kind to be read,
such as an address, gets one of that kind; a file that would hold what only stands for a value is refused by :mod:`.hidden`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

__all__ = ["PLACEHOLDER", "known_variables", "placeholders"]

PLACEHOLDER = re.compile(r"stand-in-for-(\w+)")
"""What stands for a variable whose kind does not matter; the group is its name."""

_REDIS = "redis://stand-in.invalid:6379/0"
_BY_KEY = {
    ("database", "url"): "postgresql://user@stand-in.invalid/orchestrator",
    ("cache", "url"): _REDIS,
    ("execution", "queue", "url"): _REDIS,
    ("execution", "queue", "result_backend"): _REDIS,
    ("security", "fernet_key"): "c3RhbmQtaW5zdGFuZC1pbnN0YW5kLWluc3RhbmQtaW4=",
}
_NAMED = re.compile(r"\$(?:\{(\w+)(:-[^}]*)?\}|\((\w+)\))")
"""A variable, with the default that the file gives it."""


def known_variables(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that a file names and somebody has set.

    Args:
        text: The file.
        environment: All variables.
    """
    named = {match[1] or match[3] for match in _NAMED.finditer(text)}
    return {name: environment[name] for name in sorted(named) if environment.get(name)}


def placeholders(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Give what stands for the variables that a file names without a default, and nobody has set.

    Args:
        text: The file.
        known: The variables that are set.
    """
    named = {match[1] or match[3] for match in _NAMED.finditer(text) if match[2] is None}
    wanted = {name for name in named if not known.get(name)}
    # No secret that is too short to sign with.
    made = {name: f"stand-in-for-{name}".ljust(64, "-") for name in sorted(wanted)}
    return made | {name: value for name, value in _of_a_kind(text) if name in wanted}


def _of_a_kind(text: str) -> Iterator[tuple[str, str]]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        # The reader tells what is wrong with it.
        return
    if isinstance(data, dict) and [*data] == ["orchestrator"]:
        data = data["orchestrator"]
    for key, value in _BY_KEY.items():
        whole = _NAMED.fullmatch(_at(data, key))
        if whole is not None:
            yield whole[1] or whole[3], value


def _at(data: Any, key: tuple[str, ...]) -> str:
    for part in key:
        names = {str(name).replace("-", "_"): name for name in data} if isinstance(data, dict) else {}
        data = data[names[part]] if part in names else ""
    return data if isinstance(data, str) else ""

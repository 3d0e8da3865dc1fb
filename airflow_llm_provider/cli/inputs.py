"""Reads the inputs of a run from the command line: a JSON object, a JSON file, or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airflow_llm_provider.errors import ConfigurationError

__all__ = ["read_inputs"]


def read_inputs(given: str) -> dict[str, Any]:
    """Read inputs.

    Args:
        given: A JSON object, the path of a JSON file, or ``-`` for standard input.

    Raises:
        ConfigurationError: It is none of these.
    """
    text, where = given, "--input"
    if given == "-":
        text, where = sys.stdin.read(), "standard input"
    elif not given.lstrip().startswith(("{", "[")):
        where = given
        try:
            text = Path(given).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"--input is neither a JSON object nor a file that can be read: {given}: {error.strerror}"
            ) from error
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a JSON object that maps input names to values, not {text[:40]!r}")
    return value

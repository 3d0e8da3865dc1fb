"""Reads the inputs of a run from the command line: a JSON object, a JSON file, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.values import from_json

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
        text, where = _standard_input(), "standard input"
    elif not given.lstrip().startswith(("{", "[")):
        where = given
        try:
            text = Path(given).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigurationError(
                f"--input is neither a JSON object nor a file that can be read: {given}: {error.strerror}"
            ) from error
        except UnicodeDecodeError:
            raise ConfigurationError(f"{given} is not UTF-8; save it as UTF-8") from None
    try:
        value = from_json(text)
    except ValueError as error:
        raise ConfigurationError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a JSON object that maps input names to values, not {text[:40]!r}")
    return value


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not UTF-8") from None

"""Regular expressions that a workflow file brings: they end, and what is wrong with one is told in the file's words.

The standard library's matcher cannot be stopped, and some patterns take it years.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from airflow_llm_provider.errors import InvalidRequest

if TYPE_CHECKING:
    import regex

__all__ = ["REGEX_SECONDS", "Pattern", "find_all", "find_first"]

REGEX_SECONDS = 2.0
"""Longest time that one regular expression may take."""


def _is_pattern(value: str) -> str:
    import regex

    try:
        regex.compile(value)
    except regex.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_is_pattern)]
"""The text of a regular expression, for models."""


def find_first(pattern: str, text: str, *, seconds: float = REGEX_SECONDS) -> regex.Match[str] | None:
    """Give the first match.

    Args:
        pattern: The regular expression.
        text: What to search.
        seconds: Longest time that the search may take.

    Raises:
        InvalidRequest: The pattern is none, or the search takes too long.
    """
    return next(iter(find_all(pattern, text, seconds=seconds, most=1)), None)


def find_all(
    pattern: str, text: str, *, seconds: float = REGEX_SECONDS, most: int | None = None
) -> list[regex.Match[str]]:
    """Give the matches from left to right; the arguments are those of :func:`find_first`.

    Args:
        pattern: The regular expression.
        text: What to search.
        seconds: Longest time that the search may take.
        most: How many matches are wanted; None means all.

    Raises:
        InvalidRequest: The pattern is none, or the search takes too long.
    """
    import itertools

    import regex

    try:
        return list(itertools.islice(regex.finditer(pattern, text, timeout=seconds), most))
    except regex.error as error:
        raise InvalidRequest(f"{pattern!r} is no regular expression: {error}") from None
    except builtins.TimeoutError:
        raise InvalidRequest(
            f"{pattern!r} did not end within {seconds:g} s on a text of {len(text):,} characters; "
            "write it without repetitions inside of repetitions"
        ) from None

"""Regular expressions that a workflow file brings: they end, and what is wrong with one is told in the file's words.

The standard library's matcher cannot be stopped, and some patterns take it years; :mod:`regex` has a timeout. What the timeout
does not cover is reading the pattern, which writes ``(x{500}){500}`` out in full, so its size is counted first.
"""

from __future__ import annotations

import builtins
import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator

from airflow_llm_provider.errors import InvalidRequest

if TYPE_CHECKING:
    import regex

__all__ = ["REGEX_SECONDS", "Pattern", "find_all", "find_first", "match_whole"]

FoundT = TypeVar("FoundT")

REGEX_SECONDS = 2.0
"""Longest time that one regular expression may take."""


_MAX_PATTERN = 10_000
_MAX_WRITTEN_OUT = 200_000
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(\()|(\))|\{([0-9]+)(?:,[0-9]*)?\}|.", re.DOTALL)


def _is_pattern(value: str) -> str:
    if problem := _problem(value):
        raise ValueError(problem)
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
    import regex

    def find() -> list[regex.Match[str]]:
        return list(itertools.islice(regex.finditer(pattern, text, timeout=seconds), most))

    return _in_time(find, pattern, text, seconds)


def match_whole(pattern: str, text: str, *, seconds: float = REGEX_SECONDS) -> regex.Match[str] | None:
    """Match all of a text; the arguments are those of :func:`find_first`.

    Args:
        pattern: The regular expression.
        text: What must match.
        seconds: Longest time that it may take.

    Raises:
        InvalidRequest: The pattern is none, or matching takes too long.
    """
    import regex

    return _in_time(lambda: regex.fullmatch(pattern, text, timeout=seconds), pattern, text, seconds)


def _in_time(find: Callable[[], FoundT], pattern: str, text: str, seconds: float) -> FoundT:
    if problem := _problem(pattern):
        raise InvalidRequest(problem)
    try:
        return find()
    except builtins.TimeoutError:
        raise InvalidRequest(
            f"{_shown(pattern)} did not end within {seconds:g} s on a text of {len(text):,} characters; "
            "write it without repetitions inside of repetitions"
        ) from None


def _problem(pattern: str) -> str:
    """Say what is wrong with a pattern; nothing if it can be used."""
    import regex

    if len(pattern) > _MAX_PATTERN or _size(pattern) > _MAX_WRITTEN_OUT:
        return f"{_shown(pattern)} is too large a regular expression; write it with smaller repetitions"
    try:
        # The library keeps what it has read, so that searching does not read it again.
        regex.compile(pattern)
    except regex.error as error:
        return f"{_shown(pattern)} is no regular expression: {error}"
    except RecursionError:
        return f"{_shown(pattern)} is no regular expression: it is nested too deep"
    return ""


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 100 else pattern[:99] + "…")


def _size(pattern: str) -> int:
    """Count the parts of a pattern with its counted repetitions written out."""
    sizes, last = [0], 0
    for piece in _PIECE.finditer(pattern):
        opening, closing, times = piece.groups()
        if opening:
            sizes.append(0)
            last = 0
        elif closing:
            last = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += last
        elif times:
            # Only the least number of times is written out. The first nine digits of a larger one are too large as well.
            more = last * (max(int(times[:9]), 1) - 1)
            sizes[-1] += more
            last += more
        else:
            last = 1
            sizes[-1] += last
    return sum(sizes)

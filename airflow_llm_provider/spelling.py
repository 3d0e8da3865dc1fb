"""Finds the word that somebody meant to write."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "nearest", "nothing_called"]

_FEW = 24
"""Known words that are listed when none is close."""

_MANY = 500
"""Known words beyond which only those of the same first or last letter are looked at; comparing takes 10 µs a word."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that a misspelt one was meant to be.

    Args:
        word: What was written.
        known: What could have been.
    """
    import difflib

    asked = _folded(word)
    folded: dict[str, str] = {}
    for candidate in known:
        folded[_folded(candidate)] = candidate
        # The prefix of an executor is easily forgotten.
        folded.setdefault(_folded(candidate.rpartition(":")[2]), candidate)
    likely = [
        candidate
        for candidate in folded
        if len(folded) <= _MANY or (candidate[:1] == asked[:1] and candidate[-1:] == asked[-1:])
    ]
    close = difflib.get_close_matches(asked, likely, n=1)
    return folded[close[0]] if close else None


def _folded(word: str) -> str:
    return word.casefold().replace("_", "-")


def nothing_called(noun: str, word: str, known: Iterable[str]) -> str:
    """Say that something does not exist, and what was probably meant.

    Args:
        noun: What it would be.
        word: What was written.
        known: What could have been.
    """
    suggestion = closest(word, known)
    return f"no {noun} is called {word!r}" + (f"; {suggestion}" if suggestion else "")


def closest(word: str, known: Iterable[str]) -> str:
    """Suggest what to write instead of a word that is not known.

    Args:
        word: What was written.
        known: What could have been.

    Returns:
        ``did you mean 'x'?``, or the list of known words when none is close and the list is short; else empty.
    """
    words = sorted(set(known))
    if (near := nearest(word, words)) is not None:
        return f"did you mean {near!r}?"
    return f"known are {', '.join(words)}" if 0 < len(words) <= _FEW else ""

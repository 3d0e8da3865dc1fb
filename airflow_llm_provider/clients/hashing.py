"""Texts as vectors without a model: words and pieces of words, hashed into a vector of any length.

Texts that share words, or words of one stem, get vectors that are near each other; meaning beyond that is not seen. It serves
tests and trying a workflow out, where the same text must give the same vector in every process.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from zlib import crc32

__all__ = ["hashed_vector"]

_WORD = re.compile(r"\w+")

_PIECE = 3
"""Characters of a piece of a word."""


def hashed_vector(text: str, dimensions: int) -> list[float]:
    """Give a text's vector, of length 1.

    Args:
        text: Any text; case does not matter.
        dimensions: Numbers in the vector.
    """
    vector = [0.0] * dimensions
    for feature, count in Counter(_features(text.casefold())).items():
        # crc32 is the same in every process, as Python's own hash is not. Its lowest bit gives the sign, so that features which
        # meet in one place cancel out as often as they add up.
        place, negative = divmod(crc32(feature.encode(errors="surrogatepass")), 2)
        vector[place % dimensions] += (-1 if negative else 1) * (1 + math.log(count))
    length = math.hypot(*vector)
    if length == 0:
        return [1.0, *vector[1:]]
    return [number / length for number in vector]


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text) or [text]
    for word in words:
        yield word
        padded = f" {word} "
        yield from (padded[start : start + _PIECE] for start in range(len(padded) - _PIECE + 1))
    yield from map(" ".join, itertools.pairwise(words))

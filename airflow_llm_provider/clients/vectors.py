"""What the embedding clients share about vectors."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["vector"]


def vector(given: Any) -> list[float]:
    """Give a vector of an answer as it is.

    Args:
        given: What stands in a vector's place.

    Raises:
        TypeError: It is no list of finite numbers.
    """
    if not isinstance(given, list) or not given or not all(math.isfinite(number) for number in given):
        raise TypeError("an embedding is no list of numbers")
    return given

"""Vectors without a model."""

from __future__ import annotations

import hashlib
import struct

__all__ = ["made_up_vector"]


def made_up_vector(model: str, text: str, dimensions: int) -> list[float]:
    """Make a vector of length 1 that depends on its arguments alone, in 32 bit floats.

    Args:
        model: The model asked.
        text: What is embedded.
        dimensions: Count of numbers.
    """
    stream = hashlib.shake_256(f"{model}\0{text}".encode()).digest(dimensions * 2)
    numbers = [value / 32768 for value in struct.unpack(f"<{dimensions}h", stream)]
    length = sum(number * number for number in numbers) ** 0.5
    # As 32 bit floats, so that every encoding holds the same numbers.
    return list(
        struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(number / length for number in numbers)))
    )

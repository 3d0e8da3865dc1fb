"""Finds personal data in texts, and takes it out.

What is found has the form of such data. A number of the right form may be something else, and data in another form (a name, an
address in words) is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow_llm_provider.patterns import find_all

__all__ = ["PersonalData", "PersonalDataKind", "find_personal_data", "replace_personal_data"]

PersonalDataKind = Literal["email", "phone", "ssn", "card"]


@dataclass(frozen=True, slots=True)
class PersonalData:
    """A piece of personal data.

    Attributes:
        kind: ``email``, ``phone``, ``ssn``, ``card``, or the name of a pattern of one's own.
        start: Where it begins in the text.
        end: Where it ends.
    """

    kind: str
    start: int
    end: int


def _is_card(text: str) -> bool:
    """Check the last digit, as ISO/IEC 7812-1 has it (Luhn)."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    groups = re.findall(r"\d+", text)
    if not 7 <= sum(map(len, groups)) <= 15 or _DATE_OR_ADDRESS.search(text):
        return False
    # A bare run of digits is an order number more often than a telephone's; what a person writes is grouped or international.
    return text.startswith(("+", "(")) or (
        len(groups) >= 3 and len("".join(groups)) >= 10 and max(map(len, groups)) <= 4
    )


_DATE_OR_ADDRESS = re.compile(r"\d{4}-\d\d-\d\d|^\d{1,3}(?:\.\d{1,3}){3}$")

_KINDS: Mapping[PersonalDataKind, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (
        re.compile(r"(?<![\w.%+-])\w[\w.%+'-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_][\w-]{1,62}(?!\w)"),
        lambda text: True,
    ),
    "card": (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])", re.ASCII), _is_card),
    # Areas 000, 666 and 900-999, group 00 and serial 0000 are never given: https://www.ssa.gov/employer/randomization.html
    "ssn": (
        re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])", re.ASCII),
        lambda text: True,
    ),
    "phone": (
        re.compile(r"(?<![\w.+-])\+?(?:\(\d{1,4}\)|\d)(?:[ .-]?(?:\(\d{1,4}\)|\d)){6,17}(?![\w-]|[.,]\d)", re.ASCII),
        _is_phone,
    ),
}
"""In the order in which they claim what several could be."""


def find_personal_data(
    text: str, kinds: Iterable[PersonalDataKind], patterns: Mapping[str, str] | None = None
) -> list[PersonalData]:
    """Find personal data.

    Args:
        text: Where to look.
        kinds: What to look for.
        patterns: Further kinds: name to regular expression. They come first.

    Returns:
        The pieces from left to right; none of them overlap.

    Raises:
        InvalidRequest: A pattern is none, or takes too long.
    """
    found: list[PersonalData] = []

    def claim(kind: str, start: int, end: int) -> None:
        if start < end and all(end <= other.start or start >= other.end for other in found):
            found.append(PersonalData(kind, start, end))

    for name, pattern in (patterns or {}).items():
        for own in find_all(pattern, text):
            claim(name, *own.span())
    wanted = set(kinds)
    for kind, (form, is_valid) in _KINDS.items():
        for match in form.finditer(text) if kind in wanted else ():
            if is_valid(match[0]):
                claim(kind, *match.span())
    return sorted(found, key=lambda piece: piece.start)


def replace_personal_data(text: str, found: Iterable[PersonalData], *, mask: bool) -> str:
    """Take personal data out of a text.

    Args:
        text: The text.
        found: What :func:`find_personal_data` gave for it.
        mask: Whether ``[EMAIL]`` and the like come in its place, or nothing.
    """
    parts, end = [], 0
    for piece in found:
        parts += [text[end : piece.start], f"[{piece.kind.upper()}]" if mask else ""]
        end = piece.end
    return "".join([*parts, text[end:]])

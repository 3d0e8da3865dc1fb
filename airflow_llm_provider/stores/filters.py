"""The filter language of vector searches: conditions on metadata, as JSON.

::

    {"lang": "en", "year": {"$gte": 2020, "$lt": 2024}}             all of several must hold
    {"$or": [{"kind": {"$in": ["faq", "guide"]}}, {"pinned": true}]}

The operators are those that Pinecone made common: ``$eq $ne $in $nin $gt $gte $lt $lte``, and ``$and $or`` over lists of filters.
A filter is parsed once into a small tree, which a store evaluates (:meth:`Filter.matches`) or translates to its own language.

Types are JSON's: 5 equals 5.0, but not "5" and not true. Where the metadata is a list, one fitting member is enough. What is
missing equals nothing, so ``$ne`` and ``$nin`` hold for it and everything else does not.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.spelling import nearest

__all__ = ["AllOf", "AnyOf", "Comparison", "Filter", "Operator", "Scalar", "parse_filter"]

Operator = Literal["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte"]

Scalar = str | int | float | bool
"""What metadata is compared with."""

_JOINING = ("$and", "$or")

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}

_DEEPEST = 32
"""Levels of ``$and`` and ``$or``."""


class Filter(ABC):
    """A condition on an item's metadata."""

    @abstractmethod
    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether metadata meet the condition.

        Args:
            metadata: An item's metadata.
        """


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """One member of the metadata compared with a value.

    Attributes:
        field: The member's name.
        operator: How.
        value: With what; a tuple for ``$in`` and ``$nin``.
    """

    field: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether metadata meet the condition."""
        given = metadata.get(self.field)
        members = given if isinstance(given, list) else [given]
        wanted = self.value if isinstance(self.value, tuple) else (self.value,)
        if self.operator in _ORDER:
            compare = _ORDER[self.operator]
            return any(_kind(member) == _kind(self.value) and compare(member, self.value) for member in members)
        equal = any(_kind(member) == _kind(value) and member == value for member in members for value in wanted)
        return equal == (self.operator in ("$eq", "$in"))


@dataclass(frozen=True, slots=True)
class AllOf(Filter):
    """Every one of several filters.

    Attributes:
        filters: At least one.
    """

    filters: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether metadata meet all of them."""
        return all(inner.matches(metadata) for inner in self.filters)


@dataclass(frozen=True, slots=True)
class AnyOf(Filter):
    """At least one of several filters.

    Attributes:
        filters: At least one.
    """

    filters: tuple[Filter, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether metadata meet one of them."""
        return any(inner.matches(metadata) for inner in self.filters)


def parse_filter(data: Mapping[str, Any], *, is_open: Callable[[object], bool] = lambda value: False) -> Filter:
    """Read a filter.

    Args:
        data: The filter as JSON; not empty.
        is_open: Whether a value is still to be filled in, and so not of its final type.

    Raises:
        InvalidRequest: It is no filter; the message names the place and what is allowed there.
    """
    return _parse(data, is_open, 0)


def _parse(data: Mapping[str, Any], is_open: Callable[[object], bool], depth: int) -> Filter:
    if depth > _DEEPEST:
        raise InvalidRequest(f"the filter has more than {_DEEPEST} levels")
    if not data:
        raise InvalidRequest("the filter is empty; leave it out, or give at least one condition")
    parts: list[Filter] = []
    for name, value in data.items():
        if name in _JOINING:
            if is_open(value):
                continue
            if not isinstance(value, list) or not value or not all(isinstance(inner, dict) for inner in value):
                raise InvalidRequest(f"{name!r} needs a list of at least one filter, not {value!r}")
            inner = tuple(_parse(item, is_open, depth + 1) for item in value)
            parts.append(AllOf(inner) if name == "$and" else AnyOf(inner))
        elif name.startswith("$"):
            raise InvalidRequest(_unknown(name, _JOINING, "stands where a field's name or $and, $or is expected"))
        else:
            comparisons = value if isinstance(value, dict) else {"$eq": value}
            if not comparisons:
                raise InvalidRequest(f"the field {name!r} is compared with nothing; write a value or {{'$eq': value}}")
            parts += [_comparison(name, *comparison, is_open) for comparison in comparisons.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _comparison(field: str, name: str, value: Any, is_open: Callable[[object], bool]) -> Comparison:
    known: tuple[Operator, ...] = get_args(Operator)
    chosen = next((operator for operator in known if operator == name), None)
    if chosen is None:
        raise InvalidRequest(_unknown(name, known, f"for the field {field!r} is no operator"))
    if is_open(value):
        return Comparison(field, chosen, "")
    if chosen in ("$in", "$nin"):
        if not isinstance(value, list) or not all(_kind(member) or is_open(member) for member in value):
            raise InvalidRequest(
                f"{chosen!r} for the field {field!r} needs a list of texts, numbers or booleans, not {value!r}"
            )
        return Comparison(field, chosen, tuple(value))
    allowed = ("text", "number") if chosen in _ORDER else ("text", "number", "boolean")
    if _kind(value) not in allowed:
        hint = "; use '$in' for a list" if isinstance(value, list) else ""
        raise InvalidRequest(f"{chosen!r} for the field {field!r} needs a {' or '.join(allowed)}, not {value!r}{hint}")
    return Comparison(field, chosen, value)


def _kind(value: object) -> str:
    """Name the type of what can be compared; empty for all else."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else ""


def _unknown(name: str, known: tuple[str, ...], what: str) -> str:
    # Without the mark that they all begin with, which would make them all look alike.
    near = nearest(name.removeprefix("$"), (operator.removeprefix("$") for operator in known))
    hint = f"did you mean '${near}'?" if near else f"known are {', '.join(known)}"
    return f"{name!r} {what}; {hint}"

"""The functions of ``transform`` steps: plain Python over JSON values, each a few lines.

A function takes the step's input values as its positional arguments and its own settings by keyword. :data:`FUNCTIONS` maps the
names that workflow files use.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_llm_provider.answers import parse_json
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.patterns import REGEX_SECONDS, find_first
from airflow_llm_provider.workflow.values import equal, get_item, to_text, truthy

__all__ = ["FUNCTIONS", "json_path", "normalize", "parse_json", "regex_extract", "truncate"]

_SPACE = re.compile(r"\s+")
_MISSING = object()


def merge(*values: Any) -> Any:
    """Merge objects (later members win) or join lists; other values become a list."""
    if all(isinstance(value, dict) for value in values):
        return {key: member for value in values for key, member in value.items()}
    return concat(*values) if all(isinstance(value, list) for value in values) else list(values)


def concat(*values: Any, separator: str = "") -> Any:
    """Join lists into one list, and everything else into one text."""
    if values and all(isinstance(value, list) for value in values):
        return list(itertools.chain.from_iterable(values))
    return separator.join(to_text(value) for value in values)


def filter_items(items: Any, *, key: str | None = None, value: Any = _MISSING) -> list[Any]:
    """Keep the items whose ``key`` (the item itself when absent) equals ``value`` (is truthy when absent)."""

    def keeps(item: Any) -> bool:
        found = item if key is None else _at(item, key)
        return truthy(found) if value is _MISSING else equal(found, value)

    return [item for item in _items(items) if keeps(item)]


def map_items(items: Any, *, key: str) -> list[Any]:
    """Give each item's ``key``; a dotted key goes deeper."""
    return [_at(item, key) for item in _items(items)]


def pick(value: Any, *, key: str | None = None, fields: Sequence[str] = ()) -> Any:
    """Give one member (``key``), or an object of several (``fields``)."""
    if key is not None:
        return _at(value, key)
    return {field: _at(value, field) for field in fields}


def template(*values: Any, template: Any) -> Any:
    """Give the template, which was filled in like every text of a step and keeps its type when it is one tag only."""
    return template


def split(text: Any, *, separator: str = "\n") -> list[str]:
    """Split a text; parts that are only white space are left out."""
    if not separator:
        raise InvalidRequest("transform 'split' needs a separator of at least one character")
    return [part.strip() for part in to_text(text).split(separator) if part.strip()]


def join(items: Any, *, separator: str = "\n") -> str:
    """Join a list's items into one text."""
    return separator.join(to_text(item) for item in _items(items))


def chunk(value: Any, *, size: int, overlap: int = 0) -> list[Any]:
    """Cut a text (in characters) or a list (in items) into pieces of ``size`` that share ``overlap``."""
    if overlap >= size:
        raise InvalidRequest(f"transform 'chunk' needs an overlap below its size {size}, got {overlap}")
    whole = value if isinstance(value, list) else to_text(value)
    step = size - overlap
    return [whole[start : start + size] for start in range(0, max(len(whole) - overlap, 1), step)]


def json_path(value: Any, *, path: str, first: bool = False, default: Any = None) -> Any:
    """Give what a JSONPath leads to in a value, or in the JSON that a text holds.

    A path of names and indexes only leads to one value at most, and gives that; any other gives the list of all it finds, or
    only the ``first``. ``default`` is given when nothing is found.
    """
    # Reading paths takes a library, which not every transform has to import.
    from airflow_llm_provider.executors import json_paths

    return json_paths.Query(path).select(parse_json(value), first=first, default=default)


def regex_extract(text: Any, *, pattern: str, group: int | str | None = None) -> str | None:
    """Give what a regular expression finds first: the named or numbered group, else the first group, else the whole match."""
    match = find_first(pattern, to_text(text), seconds=REGEX_SECONDS)
    if match is None:
        return None
    chosen = group if group is not None else min(match.re.groups, 1)
    try:
        found: str | None = match[chosen]
    except IndexError:
        raise InvalidRequest(f"{pattern!r} has no group {chosen!r}") from None
    return found


def truncate(text: Any, *, max_length: int, suffix: str = "…") -> str:
    """Shorten a text to at most ``max_length`` characters, the suffix included."""
    whole = to_text(text)
    if len(whole) <= max_length:
        return whole
    return (whole[: max(max_length - len(suffix), 0)] + suffix)[:max_length]


def normalize(text: Any, *, lowercase: bool = False) -> str:
    """Turn every run of white space into one space and trim the ends."""
    whole = _SPACE.sub(" ", to_text(text)).strip()
    return whole.lower() if lowercase else whole


def sort(items: Any, *, key: str | None = None, reverse: bool = False) -> list[Any]:
    """Sort numbers by size and the rest by text, numbers first, null last; ``key`` names the member to sort by."""

    def rank(item: Any) -> tuple[int, float, str]:
        found = item if key is None else _at(item, key)
        if isinstance(found, (int, float)):
            return 0, float(found), ""
        return (2, 0.0, "") if found is None else (1, 0.0, to_text(found))

    return sorted(_items(items), key=rank, reverse=reverse)


def unique(items: Any, *, key: str | None = None) -> list[Any]:
    """Keep the first of equal items, by their member ``key`` if given."""
    seen: dict[str, Any] = {}
    for item in _items(items):
        identity = json.dumps(item if key is None else _at(item, key), sort_keys=True)
        seen.setdefault(identity, item)
    return list(seen.values())


def flatten(items: Any) -> list[Any]:
    """Replace every list among the items by its own items, one level deep."""
    return [inner for item in _items(items) for inner in (item if isinstance(item, list) else [item])]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "merge": merge,
    "concat": concat,
    "filter": filter_items,
    "map": map_items,
    "pick": pick,
    "template": template,
    "split": split,
    "join": join,
    "chunk": chunk,
    "json_parse": parse_json,
    "json_path": json_path,
    "regex_extract": regex_extract,
    "truncate": truncate,
    "normalize": normalize,
    "sort": sort,
    "unique": unique,
    "flatten": flatten,
}


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _at(value: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        value = get_item(value, key)
    return value

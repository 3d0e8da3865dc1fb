"""JSONPath as RFC 9535 has it, on top of :mod:`jsonpath_rfc9535`, with an end to every query.

Importing this module imports the library, so whatever reads a path imports it first when there is one. The library runs no code
of a path, but it neither bounds how long a query takes nor its regular expressions, and its own check of those can end the whole
process when they are nested too deep. So the queries here look at the clock at every node, and match through
:mod:`airflow_llm_provider.patterns`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from jsonpath_rfc9535 import (
    JSONPathEnvironment,
    JSONPathError,
    JSONPathNode,
    JSONPathQuery,
    JSONPathRecursionError,
    Parser,
)
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction
from jsonpath_rfc9535.segments import JSONPathChildSegment, JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath_rfc9535.tokens import TokenStream

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.patterns import find_first, match_whole

__all__ = ["MAX_SOURCE", "QUERY_SECONDS", "Query"]

MAX_SOURCE = 10_000
"""Most characters that a path may have."""

QUERY_SECONDS = 2.0
"""Longest time that one query may take."""

# RFC 9485: the dot stands for all but line ends, and `(?` is no group.
_DOT = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(\.)", re.DOTALL)
_NO_IREGEXP = re.compile(r"\\.|(\(\?)", re.DOTALL)


class Query:
    """A JSONPath, read once and used as often as needed.

    Args:
        path: The path, which begins with ``$``.

    Attributes:
        path: The path.
        is_singular: Whether it leads to one value at most, because it has names and indexes only.

    Raises:
        ValueError: The text is no JSONPath; the message says what is wrong and where.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._environment = _Environment()
        self._query = _read(path, self._environment)
        self.is_singular = self._query.singular_query()

    def find(self, value: object) -> list[Any]:
        """Give every value that the path leads to, in the order of the document.

        Args:
            value: Any JSON value.

        Raises:
            InvalidRequest: The query did not end in time, or the value is nested too deep for it.
        """
        self._environment.end = time.monotonic() + QUERY_SECONDS
        try:
            return [node.value for node in self._query.finditer(value)]  # type: ignore[arg-type]
        except (JSONPathRecursionError, RecursionError):
            raise InvalidRequest(f"the value is nested too deep for the path {_shown(self.path)}") from None
        except _TookTooLong:
            raise InvalidRequest(
                f"the path {_shown(self.path)} did not end within {QUERY_SECONDS:g} s; "
                "write it with fewer '..' and filters inside of each other"
            ) from None

    def select(self, value: object, *, first: bool = False, default: Any = None) -> Any:
        """Give the one value of a singular path, and the list of all that any other path leads to.

        Args:
            value: Any JSON value.
            first: Whether the first one is enough.
            default: What to give when there is none.

        Raises:
            InvalidRequest: As in :meth:`find`.
        """
        found = self.find(value)
        if first or self.is_singular:
            return found[0] if found else default
        return found or ([] if default is None else default)


def _read(path: str, environment: JSONPathEnvironment) -> JSONPathQuery:
    if len(path) > MAX_SOURCE:
        raise ValueError(f"the path is longer than {MAX_SOURCE:,} characters")
    if not path.startswith("$"):
        raise ValueError(f"{_shown(path)} is no JSONPath: one begins with '$', as in '$.items[0].name'")
    try:
        return environment.compile(path)
    except JSONPathError as error:
        place = "" if error.token is None else f" at character {error.token.index + 1}"
        raise ValueError(f"{_shown(path)} is no JSONPath: {error.args[0]}{place}") from None
    except RecursionError:
        raise ValueError(f"{_shown(path)} is no JSONPath that can be read: it is nested too deep") from None
    except (OverflowError, ValueError):
        # The library reads a number before it looks at its size.
        raise ValueError(f"{_shown(path)} is no JSONPath that can be read: a number is too large") from None


def _shown(path: str) -> str:
    return repr(path if len(path) <= 100 else path[:99] + "…")


class _TookTooLong(Exception):
    """The time for a query is over."""


class _Environment(JSONPathEnvironment):
    """The library's settings, with our parser and our functions.

    Attributes:
        end: When a query must have ended, by the monotonic clock.
    """

    end: float = 0.0

    def __init__(self) -> None:
        self.parser_class = _Parser
        super().__init__()

    def check(self) -> None:
        """Look at the clock."""
        if time.monotonic() > self.end:
            raise _TookTooLong

    def setup_function_extensions(self) -> None:
        """Replace the two functions that take a regular expression."""
        super().setup_function_extensions()
        self.function_extensions["match"] = _Match(self, whole=True)
        self.function_extensions["search"] = _Match(self, whole=False)


class _Match(FilterFunction):
    """``match(text, pattern)`` and ``search(text, pattern)``; false for what is no text or no pattern, as the RFC says."""

    arg_types: ClassVar[list[ExpressionType]] = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type: ClassVar[ExpressionType] = ExpressionType.LOGICAL

    def __init__(self, environment: _Environment, *, whole: bool) -> None:
        self._environment = environment
        self._whole = whole

    def __call__(self, text: object, pattern: object) -> bool:
        """Match."""
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        if any(match[1] for match in _NO_IREGEXP.finditer(pattern)):
            return False
        pattern = _DOT.sub(lambda match: r"[^\n\r]" if match[1] else match[0], pattern)
        left = max(self._environment.end - time.monotonic(), 0.001)
        try:
            return (match_whole if self._whole else find_first)(pattern, text, seconds=left) is not None
        except InvalidRequest:
            self._environment.check()
            return False


class _ChildSegment(JSONPathChildSegment):
    def resolve(self, nodes: Iterable[JSONPathNode]) -> Iterable[JSONPathNode]:
        """Select, with an eye on the clock."""
        return _timed(self.env, super().resolve(_timed(self.env, nodes)))


class _DescendantSegment(JSONPathRecursiveDescentSegment):
    def resolve(self, nodes: Iterable[JSONPathNode]) -> Iterable[JSONPathNode]:
        """Select, with an eye on the clock."""
        return _timed(self.env, super().resolve(_timed(self.env, nodes)))


def _timed(environment: JSONPathEnvironment, nodes: Iterable[JSONPathNode]) -> Iterator[JSONPathNode]:
    assert isinstance(environment, _Environment)
    for node in nodes:
        environment.check()
        yield node


class _Parser(Parser):
    """Makes segments that look at the clock, also those inside of filters."""

    def parse_query(self, stream: TokenStream, *, in_filter: bool = False) -> Iterable[JSONPathSegment]:
        """Parse the segments of a query."""
        for segment in super().parse_query(stream, in_filter=in_filter):
            is_child = isinstance(segment, JSONPathChildSegment)
            kind = _ChildSegment if is_child else _DescendantSegment
            yield kind(env=segment.env, token=segment.token, selectors=segment.selectors)

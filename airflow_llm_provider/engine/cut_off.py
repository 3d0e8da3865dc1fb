"""What has to be known of calls that a try's time limit cuts off.

A call that is cancelled cannot tell whether it was too slow or the run is over; whoever sets the limit can. So the call leaves here
what is to be done in the first case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar

__all__ = ["cut_offs", "note_cut_off"]

_NOTED: ContextVar[list[Callable[[], Awaitable[None]]] | None] = ContextVar("cut_offs", default=None)


@contextlib.contextmanager
def cut_offs() -> Iterator[list[Callable[[], Awaitable[None]]]]:
    """Collect what the calls inside leave that are cut off."""
    noted: list[Callable[[], Awaitable[None]]] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def note_cut_off(then: Callable[[], Awaitable[None]]) -> None:
    """Leave what is to be done if a time limit has cut this call off.

    Args:
        then: Does it.
    """
    noted = _NOTED.get()
    if noted is not None:
        noted.append(then)

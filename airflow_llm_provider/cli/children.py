"""Programs that do not outlive the process that has started them: on Linux, the kernel sees to it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["adopt_orphans", "ending_with_parent"]

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Have what a child leaves behind when it ends handed to this process."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def ending_with_parent() -> Callable[[], None]:
    """Give what a new child has to call before it becomes a program, so that it gets SIGTERM when this process ends.

    It is for the ``preexec_fn`` of :class:`subprocess.Popen`, in a process that has one thread.
    """
    parent = os.getpid()

    def end_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)

    return end_with_parent

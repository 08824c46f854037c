"""Waiting for one fd, and recognising our epoll: the calls of csrc/shim/epoll.c.

A wait ends at its timeout, however many signals interrupt it. Needs `native`.
"""

from __future__ import annotations

import errno
import time

from .errors import os_error
from .native import fail, lib

_RETRY = 0.001  # seconds

_wait_readable = lib.og_wait_readable


def wait_readable(fd: int, timeout: float | None) -> bool:
    """poll(2) for input or hang-up, up to ``timeout`` seconds (None: for ever); False when the time is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    milliseconds = -1
    while True:
        if deadline is not None:
            # Rounded up, or the last fraction of a millisecond would be a busy loop. poll(2) takes an int.
            milliseconds = int(min(max(deadline - time.monotonic(), 0) * 1000 + 0.999, 2**31 - 1))
        ready: int = _wait_readable(fd, milliseconds)
        if ready >= 0:
            return ready != 0
        if ready != -errno.EINTR:  # Python's signal handlers have run by the time of this line: PEP 475
            fail(ready, os_error)


def pause() -> None:
    """Sleeps a moment before a retry. For holders of a lock: time.sleep() may be gevent's, and run other greenlets."""
    _wait_readable(-1, int(_RETRY * 1000))


def epoll_mark(epoll: int) -> None:
    """Marks the fd ``epoll``, so that `epoll_is_ours` recognises it. Only the last mark counts."""
    if (code := lib.og_epoll_mark(epoll)) < 0:
        fail(code, os_error)


def epoll_is_ours(epoll: int) -> bool:
    """Whether the fd ``epoll`` still refers to the epoll that was marked last."""
    return bool(lib.og_epoll_is_ours(epoll))

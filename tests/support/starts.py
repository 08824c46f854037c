"""What a process has before and after a start, and how a start is made to fail for want of fds."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import threading
from collections.abc import Iterator

from tests.support.fdtable import open_fds
from tests.support.witness import children_of


def state() -> tuple[object, ...]:
    return open_fds(), sorted(children_of(os.getpid())), threading.active_count()


@contextlib.contextmanager
def soft_limit(fds: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fds, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def number_after(room: int) -> int:
    """The soft limit that leaves ``room`` numbers free."""
    taken = {int(fd) for fd in os.listdir("/proc/self/fd")[:-1]}
    free = (fd for fd in range(20000) if fd not in taken)
    return next(itertools.islice(free, room, None))

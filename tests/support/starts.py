"""What a process has before and after a start, and how a start is made to fail for want of fds."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.support.fdtable import open_fds, tethers
from tests.support.proc import children

T = TypeVar("T")


def inventory() -> tuple[object, ...]:
    """Fds, children and threads. Tethers are left out: they stay for the next children."""
    return open_fds(), sorted(children()), threading.active_count()


def everything() -> tuple[object, ...]:
    """The inventory with the tethers, which are still the same if few starts have failed on them."""
    return *inventory(), tethers()


def foreign_fork() -> None:
    """Forks a child that is not ours and ends at once. The first such fork makes a tether for foreign children."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there may be threads
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


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


def with_ever_more_fds(start: Callable[[], T]) -> tuple[int, T]:
    """How many starts fail for want of fds, each of which leaves nothing, until one succeeds; and what that returns.

    With one fd more at each try, a start fails at one step after the other.
    """
    for room in range(40):
        before = inventory()
        try:
            with soft_limit(number_after(room)):
                return room, start()
        except OSError as error:
            assert error.errno == errno.EMFILE
        assert inventory() == before
    raise AssertionError("never succeeded")

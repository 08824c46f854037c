"""The fds of a process, and apart from them its tethers."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from orphanguard._core import lifelines

#: The real function: a test may replace it, and a plugin's fixture may keep the replacement until after ours.
_open = lifelines.open


def in_flight(fd: int | str, pid: int | str = "self") -> int:
    """How many fds are in the queue of this socket; 0 for other files."""
    with contextlib.suppress(OSError):
        found = re.search(r"^scm_fds:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def tethers(pid: int | str = "self") -> list[int]:
    """The fds of tethers and their queues: two for 64 children, and one for foreign forks."""
    return sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd") if in_flight(fd, pid))


def settle() -> None:
    """Makes a strand with a free slot if there is none, and ends strands whose last child is gone.

    A start does both: it looks at some of the children that were dropped before their end.
    """
    held, _gives_back = lifelines.held()
    _open(held, pdeathsig=False)
    lifelines.let_go(held)  # as if a child were armed on it: then the next child can have the slot
    lifelines.give_back(held)


def open_fds() -> dict[int, str]:
    """What each fd is. Without tethers: another one may be in use when 64 starts have failed on the first."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the fd of the listing itself
            if not in_flight(name):
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found

"""The fds of this process, and apart from them what children hang on: csrc/shim/tether.c."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from orphanguard._core import lifelines

#: A test may have put something else in its place, and a plugin's fixture may keep that there until after ours.
_open = lifelines.open


def in_flight(fd: int | str, pid: int | str = "self") -> int:
    """How many fds hang in the queue of this socket; 0 of what is none."""
    with contextlib.suppress(OSError):
        found = re.search(r"^scm_fds:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def tethers(pid: int | str = "self") -> list[int]:
    """Each tether and each queue: two for 64 children, and one for forks that were not started by us."""
    return sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd") if in_flight(fd, pid))


def settle() -> None:
    """There is a tether with room for one child more, and none whose last child is gone.

    A start looks after some of those that were dropped before their end, and makes what there is not.
    """
    held, _gives_back = lifelines.held()
    _open(held, pdeathsig=False)
    lifelines.let_go(held)  # as if a child were armed on it: so the next one can have its place
    lifelines.give_back(held)


def open_fds() -> dict[int, str]:
    """What they are. Without the tethers: another one may be in use when 64 starts have failed on the first."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            if not in_flight(name):
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found

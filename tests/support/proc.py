"""What /proc tells of processes, and waiting until it tells what is expected.

Needs nothing but the standard library, so that actors can import it before orphanguard.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Seconds in which what shall die must be dead. Never waited out unless a test fails.
DEATH = 20.0
#: Seconds for which what shall live is watched. An orphan or a survivor has had every chance by then: the kernel
#: signals as the parent is torn down, and a start takes some milliseconds.
LIFE = 0.4


def wait_for(what: Callable[[], T], within: float = DEATH) -> T:
    """The first true value of ``what()``."""
    deadline = time.monotonic() + within
    while not (value := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within} s: {what}")
        time.sleep(0.002)
    return value


def settled(look: Callable[[], T], wanted: T, within: float) -> T:
    """What ``look()`` returns: ``wanted`` as soon as it does, else what it returns when the time is over."""
    deadline = time.monotonic() + within
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.002)
    return found


def children(pid: int | str = "self") -> set[int]:
    """The pids of a process's children, whichever of its threads has started them; zombies are among them."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.update(map(int, (task / "children").read_text().split()))
    return found


def children_of(pid: int, having: str = "", without: str = "\0\0") -> list[int]:
    """Those whose command lines have the one word and not the other."""
    return [
        child
        for child in sorted(children(pid))
        if (command := cmdline(child)) is not None and having in command and without not in command
    ]


def cmdline(pid: int) -> str | None:
    """None: there is no such process. A zombie has an empty one."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return None


def comm(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def executable(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""


def state(pid: int) -> str:
    """As ps shows it: "S", "T", "Z"; "" where there is no such process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""

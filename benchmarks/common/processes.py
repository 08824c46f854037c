"""Processes below this one: who they are, and the end of all of them.

The process that measures makes itself a child subreaper (prctl(2)): an orphan below it becomes its own child. So no
process gets out of sight. Nobody else reaps them, so the pid of a child cannot become another's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
UNKILLABLE = 20.0  # seconds


def adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(code)}")


def children_of(pid: int | str) -> list[int]:
    """The children of all threads of the process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                found.extend(map(int, file.read().split()))
    return found


def descendants(pid: int | str) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from descendants(child)


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def state_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def doomed(pid: int) -> bool:
    """Whether SIGKILL is pending (proc(5)): the process is killed, but had no processor to die on so far."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("SigPnd:", "ShdPnd:")) and int(line.split()[1], 16) >> signal.SIGKILL - 1 & 1:
                return True
    return False


def reap_all() -> None:
    """Waits until no child is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def end_all() -> None:
    """Kills and reaps all processes below this one.

    Only children are signalled, by pids that are exact since nobody else reaps them. Their children then become ours.
    """
    deadline = time.monotonic() + UNKILLABLE
    while True:
        for pid in children_of("self"):
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"killed, but still there: {[command_of(pid) for pid in children_of('self')]}")
        time.sleep(0.001)

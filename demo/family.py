"""Processes that are watched by pidfd, and the end of all that the demo ever started.

The demo is a child subreaper (prctl(2)): every orphan below it becomes its own child. So nothing that it started gets
out of sight. Nobody else reaps them, so none of their pids can become another's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

UNKILLABLE = 20  # seconds

_sessions: set[int] = set()  # those of the programs that we started; a session id is its leader's pid


def start_in_session(command: list[str], stdin: int, stdout: int, stderr: int) -> int:
    """Starts a program in a session (and process group) of its own, which is ours to clean up. Returns its pid."""
    redirections = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((stdin, stdout, stderr))]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=redirections, setsid=True)
    _sessions.add(pid)
    return pid


class Watched:
    """A process, by a pidfd. A zombie counts as dead: its pidfd is readable."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def send(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)

    @property
    def alive(self) -> bool:
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return not poller.poll(0)

    @property
    def killed(self) -> bool:
        """Whether a signal ended it. Only for a child of ours."""
        end = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return end is not None and end.si_code != os.CLD_EXITED

    def close(self) -> None:
        os.close(self.pidfd)


def wait_for_deaths(watched: Iterable[Watched], timeout: float) -> tuple[list[Watched], float | None]:
    """Waits until all are dead, at most ``timeout`` seconds. Returns the living, and when (monotonic) the last died."""
    living = {process.pidfd: process for process in watched}
    poller = select.poll()
    for pidfd in living:
        poller.register(pidfd, select.POLLIN)
    last = None
    deadline = time.monotonic() + timeout
    while living and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left * 1000):
            last = time.monotonic()
            poller.unregister(pidfd)
            del living[pidfd]
    return list(living.values()), last


def _children() -> Iterator[int]:
    """Our children in the sessions that we made, adopted orphans included."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may contain anything.
                _state, parent, _group, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(parent) == os.getpid() and int(session) in _sessions:
                    yield int(entry.name)


def kill_all() -> None:
    """Kills what is left. The pids are exact: only `sweep` reaps, so a pid stays taken after its process is dead."""
    for pid in _children():
        os.kill(pid, signal.SIGKILL)


def sweep(patience: float) -> None:
    """Ends and reaps all that is left. No other thread may start programs meanwhile.

    Helper processes of multiprocessing (resource tracker, fork server) end by themselves when their owner is gone; they
    have ``patience`` seconds for that. Raises TimeoutError if something can't be killed.
    """
    patience_ends = time.monotonic() + patience
    while pids := list(_children()):
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        now = time.monotonic()
        if now > patience_ends + UNKILLABLE:
            raise TimeoutError(f"killed, but still there after {UNKILLABLE} s: {pids}")
        if now > patience_ends:
            kill_all()
        time.sleep(0.01)

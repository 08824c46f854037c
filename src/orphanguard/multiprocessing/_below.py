"""``Process(tree=)``: a worker whose parent is a supervisor, which ends all that the worker starts.

A spawned worker is the supervisor's command. A forked one is not: a forked child, the parent's or its fork server's,
forks once more. The second is the worker, and the first becomes its supervisor by exec, so the parent's memory is not
kept twice. The worker is held until its supervisor has told the parent that it is ready, and dies with it from the
start.

For CPython 3.10 to 3.15, and no private part of it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from .._bin import RUN
from .._core import arming, forking, gevent, supervised
from .._core.errors import GuardUnavailable, not_executable
from .._core.fds import close, pipe
from .._core.supervisor import STATUS, Options, Supervisor, command
from .._stdlib import multiprocessing as seam
from ._arrival import GO, arrive_forked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.child import Child


class Held:
    """The parent's side of a forked worker's start."""

    def __init__(self, child: Child, options: Options) -> None:
        self._child = child
        self.supervisor = child.supervisor = Supervisor(options)
        self.go_r, self.go_w = pipe(keep_from_forks=True)

    def fork(self) -> int:
        """As ``os.fork()``; the pid is the supervisor's, and what returns 0 is the worker."""
        pid = forking.fork_armed()
        if pid == 0:
            split(self._child.lifeline, self.supervisor.fds, self.go_r.fd, self.supervisor.arguments)
            supervised.enter(self.supervisor.containment, self.supervisor.signal)
            self.supervisor.close()
        return pid

    def release(self) -> None:
        """Returns when the supervisor is ready; the worker runs from here on."""
        self.supervisor.started()
        self.supervisor.await_command(self._child.pidfd)
        os.write(self.go_w.fd, GO)

    def close(self) -> None:
        self.go_r.close()
        self.go_w.close()


def split(lifeline: int, fds: Sequence[int], go: int, arguments: Sequence[str]) -> None:
    """In a forked child that is armed on ``lifeline``: returns in its own child, when that may run.

    ``fds`` and ``arguments`` are a `Supervisor`'s; over the pipe ``go`` the worker is told to run.
    """
    supervisor = os.getpid()
    worker = supervisor
    try:
        arming.rehearse_pdeathsig()  # while a refusal can be told: the worker inherits this thread's seccomp filters
        worker = gevent.fork_function()()
        if worker == 0:
            arming.arm_pdeathsig(9, supervisor)
            if os.read(go, 1) != GO:
                os._exit(127)
            close(go)
            return
        for fd in (lifeline, *fds):
            os.set_inheritable(fd, True)
        try:
            os.execv(RUN, command(lifeline, *fds, *arguments, f"--child-pid={worker}"))
        except OSError as error:
            raise not_executable(RUN, error, RUN) from None
    except BaseException as error:  # a signal handler's, too: nothing of the caller's may run here
        if worker != 0:
            what = "supervisor"
            if isinstance(error, GuardUnavailable):
                what = str(error.strerror)
            elif isinstance(error, OSError):
                what = "fork" if worker == supervisor else "execve(orphanguard-run)"
            event = {"event": "failed", "exit": 125, "errno": getattr(error, "errno", 0), "what": what}
            with contextlib.suppress(OSError):
                os.write(fds[STATUS], json.dumps(event).encode()[:4000] + b"\n")
        os._exit(127)


# --- in a worker that was not forked from its parent; see _arrival.py


def arrive_spawned_below(lifeline: int, containment: str, signal: int) -> None:
    os.set_inheritable(lifeline, False)
    supervised.enter(containment, signal, lifeline)


def arrive_forked_below(
    arrival: Sequence[int], indexes: Sequence[int], arguments: Sequence[str], containment: str, signal: int
) -> None:
    """In a fork server's child.

    ``arrival``: what `arrive_forked` is told. ``indexes``: those of `Supervisor.fds`, and of the pipe that holds the
    worker.
    """
    arrive_forked(*arrival)
    lifeline = arming.armed()
    *fds, go = [seam.forkserver_inherited_fd(index) for index in indexes]
    split(lifeline, fds, go, arguments)
    for fd in fds:
        close(fd)
    supervised.enter(containment, signal, lifeline)

"""``Process(tree=)``: puts a worker below a supervisor, which ends everything that the worker starts.

A spawned worker is the supervisor's command (_spawn.py). For the two other start methods the forked child, the parent's
or its fork server's, forks once more. The second process is the worker. The first process executes orphanguard-run and
so becomes the worker's supervisor: no copy of the parent's memory stays in it.

The worker dies with its supervisor from the start. The worker's own code does not run until the supervisor has told
the parent that it is ready. Needs orphanguard-run's ``--child-pid``, and no private part of CPython (3.10 to 3.15).
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
    from .._core.containment import Containment


class HeldStart:
    """The parent's side: a forked worker that is held until its supervisor is ready.

    Owns the supervisor's pipes and the pipe ``go``, over which the worker is told to run.
    """

    def __init__(self, child: Child, options: Options) -> None:
        self._child = child
        self.supervisor = child.supervisor = Supervisor(options)
        self.go_r, self.go_w = pipe(keep_from_forks=True)

    def fork(self) -> int:
        """Takes the place of ``os.fork()``: returns the supervisor's pid in the parent, and 0 in the worker."""
        pid = forking.fork_armed()
        if pid == 0:
            split(self._child.lifeline, self.supervisor.fds, self.go_r.fd, self.supervisor.arguments)
            supervised.enter(self.supervisor.containment, self.supervisor.signal)
            self.supervisor.close()
        return pid

    def release(self) -> None:
        """Waits until the supervisor is ready, and lets the worker run. OSError if the supervisor has failed."""
        self.supervisor.started()
        self.supervisor.await_command(self._child.pidfd)
        os.write(self.go_w.fd, GO)

    def close(self) -> None:
        self.go_r.close()
        self.go_w.close()


def split(lifeline: int, fds: Sequence[int], go: int, arguments: Sequence[str]) -> None:
    """Runs in a forked child that is armed on ``lifeline``, and makes two processes of it: supervisor and worker.

    Returns in the worker, when the parent has let it run. ``fds`` and ``arguments`` are those of the parent's
    `Supervisor`; ``go`` is the read end of the pipe over which the worker is told to run. A failure goes to the parent
    over the status pipe, as orphanguard-run would report it.
    """
    supervisor = os.getpid()
    worker = supervisor
    try:
        # The worker inherits this thread's seccomp filters. It could not report a refusal; this process can.
        arming.rehearse_pdeathsig()
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
    except BaseException as error:  # also a signal handler's: no code of the caller's may run here
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


# --- called in a worker that was not forked from its parent: see _arrival.py


def arrive_spawned_below(lifeline: int, containment: Containment, signal: int) -> None:
    """Tells a spawned worker that it is below a supervisor, which is armed on the description of ``lifeline``."""
    os.set_inheritable(lifeline, False)
    supervised.enter(containment, signal, lifeline)


def arrive_forked_below(
    arrival: Sequence[int], indexes: Sequence[int], arguments: Sequence[str], containment: Containment, signal: int
) -> None:
    """Arms a fork server's child, and returns in its worker when the parent has let it run.

    ``arrival``: the arguments of `arrive_forked`. ``indexes``: the indexes of `Supervisor.fds` and of the pipe ``go``,
    as the parent has sent them through the server.
    """
    arrive_forked(*arrival)
    lifeline = arming.armed()
    *fds, go = [seam.forkserver_inherited_fd(index) for index in indexes]
    split(lifeline, fds, go, arguments)
    for fd in fds:
        close(fd)
    supervised.enter(containment, signal, lifeline)

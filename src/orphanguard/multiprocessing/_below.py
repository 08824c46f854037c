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

from .. import _gevent, _native
from .._bin import RUN
from .._fds import close
from .._supervisor import Options, Supervisor, command
from . import _process, _stdlib
from ._arrival import arrive_forked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._pidfd import Child

_GO = b"g"


class Held:
    """The parent's side of a forked worker's start."""

    def __init__(self, child: Child, options: Options) -> None:
        self._child = child
        self.supervisor = child.supervisor = Supervisor(options)
        self.go, self._go_w = _native.pipe()

    def fork(self) -> int:
        """As ``os.fork()``; the pid is the supervisor's, and what returns 0 is the worker."""
        pid = _native.fork_armed()
        if pid == 0:
            split(self._child.lifeline, *self.supervisor.fds, self.go, self.supervisor.arguments)
            os.close(self._go_w)
            supervised(self.supervisor.containment, self.supervisor.signal)
            self.supervisor.close()
        return pid

    def release(self) -> None:
        """Returns when the supervisor is ready; the worker runs from here on."""
        self.supervisor.started()
        self.supervisor.await_command(self._child.pidfd)
        os.write(self._go_w, _GO)

    def close(self) -> None:
        for fd in (self.go, self._go_w):
            close(fd)


def split(lifeline: int, control: int, status: int, go: int, arguments: Sequence[str]) -> None:
    """In a forked child that is armed on ``lifeline``: returns in its own child, when that may run.

    The others: `Supervisor.fds`, the pipe over which it is told to, and `Options.arguments`.
    """
    supervisor = os.getpid()
    worker = supervisor
    try:
        worker = _gevent.fork_function()()
        if worker == 0:
            _native.arm_pdeathsig(9, supervisor)
            if os.read(go, 1) != _GO:
                os._exit(127)
            os.close(go)
            return
        for fd in (lifeline, control, status):
            os.set_inheritable(fd, True)
        os.execv(RUN, command(lifeline, control, status, *arguments, f"--child-pid={worker}"))
    except BaseException as error:  # a signal handler's, too: nothing of the caller's may run here
        event = {"event": "failed", "exit": 125, "errno": getattr(error, "errno", 0), "what": f"supervisor: {error!r}"}
        if worker != 0:
            with contextlib.suppress(OSError):
                os.write(status, json.dumps(event).encode()[:4000] + b"\n")
        os._exit(127)


def supervised(containment: str, signal: int) -> None:
    _native.supervised = os.getpid(), containment, signal


# --- in a worker that was not forked from its parent; see _arrival.py


def arrive_spawned_below(lifeline: int, containment: str, signal: int) -> None:
    os.set_inheritable(lifeline, False)
    supervised(containment, signal)
    _process.below = lifeline


def arrive_forked_below(
    lifeline_index: int, answer_index: int, indexes: Sequence[int], arguments: Sequence[str], *what: Any
) -> None:
    """In a fork server's child.

    ``indexes``: those of `Supervisor.fds`, of the pipe that holds the worker, and of a pidfd of the process that asked
    the server: our parent is the server, whose death is nobody else's.
    """
    arrive_forked(lifeline_index, answer_index)
    lifeline = _native.armed()
    control, status, go, asker = [_stdlib.forkserver_inherited_fd(index) for index in indexes]
    os.set_inheritable(asker, True)
    split(lifeline, control, status, go, [f"--parent-fd={asker}", *arguments])
    for fd in (control, status, asker):
        os.close(fd)
    supervised(*what)
    _process.below = lifeline

"""``tree=``: the parent's side of a supervisor, the program ``orphanguard-run``, which ends everything below it.

The supervisor takes the place of the child: the lifeline, the pidfd and the pid are the supervisor's. The parent sends
orders over one pipe, one byte for each. The supervisor tells over a second pipe when the command runs, or why it does
not. An order never blocks the parent and never kills it by SIGPIPE, and a start never returns before the command runs.

Needs `pidfds` and `fds`, and the program in `orphanguard._bin`. csrc/supervisor is the supervisor's side, and
docs/design.md says how the two fit together.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import select
import signal as _signal
from typing import TYPE_CHECKING, Any

from .._bin import RUN
from . import gevent, lifelines, pidfds
from .containment import CONTAINMENTS, DEFAULT
from .errors import RESOURCES, GuardUnavailable, not_executable, os_error
from .fds import pipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .containment import Containment, Tree


_END = 0
_WHOLE_TREE = 128  # an order is a signal's number: for the command, or for the whole tree with this added
_LONGEST = 2**31 / 1000  # seconds
_CANNOT_EXECUTE = (126, 127)
STATUS = 1  #: the index of the status pipe in `Supervisor.fds`


class Options:
    """How a tree is contained and ended: ``tree=``, ``grace=`` and the death signal of the public classes.

    Raises ValueError or TypeError if one of them has no meaning.
    """

    containment: Containment

    def __init__(self, tree: Tree, grace: float | None, death_signal: int | None) -> None:
        if tree not in (True, False, *CONTAINMENTS):
            raise ValueError(f"tree must be a bool or one of {', '.join(CONTAINMENTS)}, not {tree!r}")
        if grace is not None:
            if isinstance(grace, bool) or not isinstance(grace, (int, float)):
                raise TypeError(f"grace must be a number of seconds, not {grace!r}")
            if not 0 <= grace < _LONGEST:
                raise ValueError(f"grace must be from 0 to {_LONGEST:.0f} seconds, not {grace!r}")
        self.containment = tree if isinstance(tree, str) else DEFAULT
        self.grace = grace
        if death_signal is None:
            death_signal = _signal.SIGKILL if grace is None else _signal.SIGTERM
        self.signal = int(death_signal)

    def arguments(self) -> list[str]:
        arguments = [f"--tree={self.containment}", f"--signal={self.signal}"]
        if self.grace is not None:
            arguments.append(f"--grace={math.ceil(self.grace * 1000)}ms")
        return arguments


class Supervisor:
    """One supervisor: the pipes between it and this process.

    It is made before the supervisor is started. Call `started` after the start, and `close` when the start has failed
    or the supervisor has ended.
    """

    command_pid = 0  #: known when `await_command` has returned

    def __init__(self, options: Options) -> None:
        self._options = options
        self.signal = options.signal
        self.arguments = options.arguments()
        self.containment = options.containment
        # We keep the reader too. Without it, an order to a supervisor that has ended would raise SIGPIPE, which kills a
        # program that does not ignore it.
        self._reader, self._control = pipe()
        self._status, self._status_w = pipe()
        os.set_blocking(self._control.fd, False)
        # The supervisor watches this pidfd. If it looked for its parent itself, and this process were gone by then, it
        # would find and watch the process that has adopted it.
        self._parent, self._gives_back = lifelines.held()
        pidfds.hold(self._parent, os.getpid())

    @property
    def fds(self) -> tuple[int, int, int]:
        """What the supervisor inherits besides its lifeline: the pipes for orders and for the status, our pidfd."""
        return self._reader.fd, self._status_w.fd, self._parent.pidfd

    def started(self) -> None:
        """Closes what the supervisor has inherited by now. The end of the status pipe is then the supervisor's end."""
        self._status_w.close()
        pidfds.close(self._parent)

    def await_command(self, pidfd: int, executable: Any = None) -> None:
        """Returns when the command runs. If it cannot run, raises the OSError, and the supervisor ends.

        ``pidfd``: the supervisor's. ``executable``: the filename of the OSError if the command cannot be executed.
        """
        # The pipe alone does not tell that the supervisor has ended: a child that another thread has forked just now
        # may hold the write end open. So the pidfd is polled too.
        poller = gevent.original("select", "poll")()
        poller.register(self._status.fd, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        told = self._status.fd in dict(poller.poll())
        line = os.read(self._status.fd, 4096) if told else b""  # a write up to PIPE_BUF comes whole or not at all
        self._status.close()
        if not line:
            raise OSError(errno.EPROTO, "orphanguard-run ended before it started the command")
        event = json.loads(line.splitlines()[0])
        if event["event"] == "started":
            self.command_pid = event["command_pid"]
            return
        code, what = event["errno"], event["what"]
        if event["exit"] in _CANNOT_EXECUTE:
            raise OSError(code, os.strerror(code), executable)
        if code in RESOURCES or what in ("setgroups", "setregid", "setreuid"):
            raise os_error(code, what)
        why = os.strerror(code) if code else ""
        raise GuardUnavailable(code or errno.ENOTSUP, what if why in what else f"{what}: {why}")

    def command(self, lifeline: int, args: Sequence[Any], *what: Any) -> list[Any]:
        """Its argv, to run ``args``. ``lifeline``: its fd of the description. ``what``: the arguments of `words`."""
        return command(lifeline, *self.fds, *self.arguments, *words(*what), *args)

    def signal_command(self, signal: int) -> None:
        """Sends ``signal`` to the command. Raises OSError (EINVAL) if there is no such signal."""
        if not 0 < signal <= _signal.SIGRTMAX:
            raise os_error(errno.EINVAL, "kill")
        self._order(signal)

    def terminate(self) -> None:
        """Sends the death signal and, after the grace, SIGKILL to the whole tree; without a grace, SIGTERM."""
        self._order(_END if self._options.grace is not None else _WHOLE_TREE + _signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL to the whole tree."""
        self._order(_WHOLE_TREE + _signal.SIGKILL)

    def _order(self, byte: int) -> None:
        if not self._control.is_ours():
            raise os_error(errno.EBADF, "the supervisor's control pipe, which this program has closed")
        with contextlib.suppress(BlockingIOError):  # the pipe is full: the supervisor has thousands of orders to read
            os.write(self._control.fd, bytes([byte]))

    def close(self) -> None:
        """Closes all fds. Further calls do nothing."""
        self.started()
        self._control.close()
        self._reader.close()
        self._status.close()


def command(lifeline: int, control: int, status: int, parent: int, *rest: Any) -> list[Any]:
    """The argv of a supervisor: the fds that it inherits, then ``rest``."""
    fds = {"lifeline": lifeline, "control": control, "status": status, "parent": parent}
    return [RUN, *(f"--{name}-fd={fd}" for name, fd in fds.items()), *rest]


def blamed(error: OSError, asked_for: Any) -> OSError:
    """The exception to raise for ``error``, which came from the start of a supervisor for the program ``asked_for``."""
    return not_executable(RUN, error, asked_for) if error.filename == RUN else error


def words(
    paths: Sequence[Any], gid: int | None = None, gids: Sequence[int] | None = None, uid: int | None = None
) -> list[Any]:
    """The options that say what the supervisor executes, and by which ids. The command's argv follows them."""
    options: list[Any] = [b"--executable=" + os.fsencode(path) for path in paths]
    if gids is not None:
        options.append("--groups=" + ",".join(map(str, gids)))
    options += [f"--{name}={number}" for name, number in (("gid", gid), ("uid", uid)) if number is not None]
    return [*options, "--"]

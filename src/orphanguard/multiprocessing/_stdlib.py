"""The one place that leans on private parts of ``multiprocessing``: CPython 3.10 to 3.15.

The standard library's own functions are run, each with a few of the global names that it looks up replaced
(`_borrowed`): plain ``multiprocessing`` in the same interpreter is untouched.

What is relied on, and checked by tests/test_stdlib_drift.py:

- ``BaseProcess.start`` looks up ``_cleanup`` (replaced: O(ended) instead of O(all children)).
- ``popen_fork.Popen._launch`` calls ``os.fork`` once and ``os.pipe`` twice before it: the sentinel pipe, then the
  data pipe whose read end goes to ``_bootstrap(parent_sentinel=...)``; the parent's ends end up in one
  ``util.Finalize``.
- ``popen_spawn_posix.Popen._launch`` calls ``os.pipe``, ``spawn.get_preparation_data`` and ``util.spawnv_passfds``.
- ``ForkServer.ensure_running`` calls ``util.spawnv_passfds``; ``connect_to_new_process`` calls ``os.pipe`` twice.
- ``spawn.prepare`` ignores keys that it does not know; the preparation data is unpickled before it runs.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from multiprocessing import context as _context
from multiprocessing import popen_fork as _popen_fork
from multiprocessing import process as _process
from multiprocessing import util

from .. import _native, _waiting
from .._borrowed import Overlay, replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.process import BaseProcess
    from typing import Any

    SpawnvPassfds = Callable[[Any, Sequence[Any], Iterable[int]], int]

# The stubs of typeshed leave out what this file is about.
context: Any = _context
popen_fork: Any = _popen_fork
process: Any = _process


def seams() -> tuple[tuple[Any, tuple[str, ...]], ...]:
    """What each borrowed function must look up, for the drift test."""
    from multiprocessing import forkserver, popen_spawn_posix

    spawn_launch: Any = popen_spawn_posix.Popen._launch  # type: ignore[attr-defined]
    return (
        (process.BaseProcess.start, ("_cleanup",)),
        (popen_fork.Popen._launch, ("os", "pipe", "fork", "util", "Finalize")),
        (spawn_launch, ("os", "pipe", "spawn", "get_preparation_data", "util", "spawnv_passfds")),
        (forkserver.ForkServer.ensure_running, ("util", "spawnv_passfds")),
        (forkserver.ForkServer.connect_to_new_process, ("os", "pipe")),
    )


class _Launch(threading.local):
    """What the borrowed launches find as ``os`` and ``util``, for the launch that is under way in this thread.

    A launch that fails leaves no pipe. (The standard library's does if its second pipe or its fork fails.)
    """

    lifeline = -1
    pidfd = -1
    pipes: list[tuple[int, int]]
    unclosed: list[int]

    busy = 0  #: the process in which this thread is in the middle of a start

    def begin(self, lifeline: int = -1) -> None:
        self.lifeline = lifeline
        self.pipes = []
        self.unclosed = []

    def pipe(self, keep_from_forks: bool = False) -> tuple[int, int]:
        ends = _native.pipe(keep_from_forks=keep_from_forks)
        self.unclosed += ends
        self.pipes.append(ends)
        return ends

    def prepared_pipe(self) -> tuple[int, int]:
        ends = self.pipes.pop()
        self.unclosed = self.unclosed[:-2]  # theirs now
        return ends

    def close(self, fd: int) -> None:
        self.unclosed.remove(fd)
        os.close(fd)

    def fork(self) -> int:
        """The data pipe of a forked child has no use but this one: it is the gate."""
        pid, self.pidfd = _native.fork_armed(self.lifeline, self.pipes[1])
        return pid

    def close_at_once(self, popen: Any, close_fds: Any, fds: tuple[int, ...]) -> None:
        """In place of ``util.Finalize``: with a pidfd and the lifeline, neither end has a use in the parent."""
        for fd in fds:
            self.close(fd)

    def close_pipes(self) -> None:
        while self.unclosed:
            os.close(self.unclosed.pop())


_launch = _Launch()
_start = replaced(process.BaseProcess.start, _cleanup=lambda: _waiting.registry().sweep())
_launch_fork = replaced(
    popen_fork.Popen._launch,
    os=Overlay(os, pipe=_launch.pipe, fork=_launch.fork, close=_launch.close),
    util=Overlay(util, Finalize=_launch.close_at_once, close_fds=None),
)


def start(process_obj: BaseProcess) -> None:
    here = os.getpid()
    if _launch.busy == here:
        # In a signal handler that has interrupted a start of this thread.
        bring_back, saved = _native.save_start(), _launch.__dict__.copy()
        try:
            _start(process_obj)
        finally:
            _launch.__dict__.update(saved)
            bring_back()
        return
    _launch.busy = here
    try:
        _start(process_obj)
    finally:
        _launch.busy = 0


def discard_child(process_obj: BaseProcess) -> None:
    """The process has been seen finished: `active_children` and the interpreter's exit need not ask it."""
    process._children.discard(process_obj)


def is_current(process_obj: object) -> bool:
    return process_obj is process.current_process()


def launch_fork(popen: Any, process_obj: BaseProcess, lifeline: int) -> int:
    """Forks a child that is armed on ``lifeline``; returns its pidfd. If it raises, there is no child."""
    _launch.begin(lifeline)
    parent = os.getpid()
    try:
        _launch_fork(popen, process_obj)
    except BaseException:
        if os.getpid() != parent:
            os._exit(1)  # interrupted before it was in its own code: it must not get into its parent's
        pidfd = _native.abandon()
        if pidfd >= 0:
            os.close(pidfd)
        _launch.close_pipes()
        raise
    return _launch.pidfd


def launch_spawn(popen: Any, process_obj: BaseProcess, spawnv: SpawnvPassfds, extra: Callable[[], object]) -> None:
    """Launches by ``spawnv(path, args, fds)``; ``extra()`` joins the preparation data, which is unpickled first."""

    from multiprocessing import popen_spawn_posix, spawn

    def preparation_data(name: str) -> dict[str, object]:
        return {"orphanguard": extra(), **spawn.get_preparation_data(name)}

    replaced(
        popen_spawn_posix.Popen._launch,  # type: ignore[attr-defined]
        os=Overlay(os, pipe=_native.pipe),
        spawn=Overlay(spawn, get_preparation_data=preparation_data),
        util=Overlay(util, spawnv_passfds=spawnv),
    )(popen, process_obj)


def dump_for_forkserver(popen: Any, process_obj: BaseProcess, extra: Callable[[], object]) -> bytes:
    """What a fork server's child reads from its data pipe; ``extra()`` is unpickled first of all."""
    from multiprocessing import spawn

    buffer = io.BytesIO()
    context.set_spawning_popen(popen)
    try:
        data = spawn.get_preparation_data(process_obj.name)
        context.reduction.dump({"orphanguard": extra(), **data}, buffer)
        context.reduction.dump(process_obj, buffer)
    finally:
        context.set_spawning_popen(None)
    return buffer.getvalue()


def forkserver_inherited_fd(index: int) -> int:
    """In a fork server's child: the fd that its parent sent as number ``index``."""
    from multiprocessing import forkserver

    fds = forkserver.get_inherited_fds()
    assert fds is not None
    return fds[index]


def forkserver_ensure_running(spawnv: SpawnvPassfds, preload: str) -> None:
    """Starts the fork server by ``spawnv``, with ``preload`` imported in it, unless it runs already."""
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    if preload not in server._preload_modules:
        server._preload_modules = [*server._preload_modules, preload]
    replaced(forkserver.ForkServer.ensure_running, util=Overlay(util, spawnv_passfds=spawnv))(server)


def forkserver_connect(fds: list[int]) -> tuple[int, int]:
    """Has the fork server fork a child. Returns the read end of its status pipe, the write end of its data pipe."""
    from multiprocessing import forkserver

    connect = replaced(forkserver.ForkServer.connect_to_new_process, os=Overlay(os, pipe=_launch.prepared_pipe))
    _launch.begin()
    try:
        # Not between the connection and the request: the server does not survive a client that gives up there.
        # And an unguarded fork must not hide the end of either from its reader: the child, which is not armed before
        # its data have come; and us, when the server is gone.
        _launch.pipe(keep_from_forks=True)
        _launch.pipe(keep_from_forks=True)
        status, data = connect(forkserver._forkserver, fds)
    except BaseException:
        _launch.close_pipes()  # those that were not handed out; the standard library closes the others
        raise
    return status, data


class Told:
    """A number that is read once from a fork server's pipe, and stays here for all who ask again."""

    _NUMBER = struct.Struct("q")  # as in forkserver.py
    _NOTHING = -(2**63)

    def __init__(self) -> None:
        self._buffer = bytearray(self._NUMBER.pack(self._NOTHING))

    def read(self, fd: int) -> int:
        """Raises EOFError if the server is gone."""
        # Into the buffer by the system call itself (eight bytes of a pipe come together): a signal handler can
        # run after it, and ask, before the next line.
        if self._number() == self._NOTHING:
            os.readv(fd, [self._buffer])
        if self._number() == self._NOTHING:
            raise EOFError("the fork server is gone")
        return self._number()

    def _number(self) -> int:
        number: int = self._NUMBER.unpack(self._buffer)[0]
        return number


def read_signed(fd: int) -> int:
    """A number that the fork server wrote: the child's pid, later its exit code. EOFError if the server is gone."""
    from multiprocessing import forkserver

    number: int = forkserver.read_signed(fd)
    return number

"""The one place that leans on private parts of ``multiprocessing``: CPython 3.10 to 3.15.

The standard library's own functions are run, each with a few of the global names that it looks up replaced
(`orphanguard._core.borrowed`): plain ``multiprocessing`` in the same interpreter is untouched.

What is relied on, and checked by tests/seams/test_drift.py:

- ``BaseProcess.start`` looks up ``_cleanup`` (replaced: O(ended) instead of O(all children)).
- ``popen_fork.Popen._launch`` calls ``os.fork`` once and ``os.pipe`` twice before it: the sentinel pipe, then the
  data pipe whose read end goes to ``_bootstrap(parent_sentinel=...)``; the parent's ends end up in one
  ``util.Finalize``.
- ``popen_spawn_posix.Popen._launch`` calls ``os.pipe``, ``spawn.get_preparation_data`` and ``util.spawnv_passfds``; it
  closes the child's ends by ``os.close``, and leaves the parent's to a ``util.Finalize``.
- ``ForkServer.ensure_running`` calls ``os.pipe`` once and ``util.spawnv_passfds``, and sets ``_forkserver_alive_fd``
  and, last, ``_forkserver_pid``; ``connect_to_new_process`` calls ``os.pipe`` twice. Both call ``os.close`` for ends.
- ``spawn.prepare`` ignores keys that it does not know; the preparation data is unpickled before it runs.
"""

from __future__ import annotations

import io
import os
import struct
from multiprocessing import context as _context
from multiprocessing import popen_fork as _popen_fork
from multiprocessing import process as _process
from multiprocessing import util

from .._core import forking, gevent, waiting
from .._core.borrowed import Overlay, replaced
from .._core.fds import OwnFd, close, make_pipe, pipe

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
        (spawn_launch, ("os", "pipe", "close", "spawn", "get_preparation_data", "util", "spawnv_passfds", "Finalize")),
        (forkserver.ForkServer.ensure_running, ("os", "pipe", "close", "util", "spawnv_passfds")),
        (forkserver.ForkServer.connect_to_new_process, ("os", "pipe", "close")),
    )


def _no_pipe() -> tuple[int, int]:
    """In place of the pipes of a fork: what the child gets as its parent's sentinel is its lifeline."""
    lifeline = forking.armed_next_fork()
    return lifeline, lifeline


_start = replaced(process.BaseProcess.start, _cleanup=waiting.sweep)


def launch_fork_by(fork: Callable[[], int]) -> Callable[..., Any]:
    return replaced(
        popen_fork.Popen._launch,
        # bool and format do nothing here, and are no functions of Python's, each of which costs a fork some pages.
        os=Overlay(os, pipe=_no_pipe, fork=fork, close=bool, _exit=os._exit),
        util=Overlay(util, Finalize="".format, close_fds=None),
    )


#: Forks for a Popen and its process, after `forking.arm_next_fork`. If it raises in the parent, there is no child.
launch_fork = launch_fork_by(forking.fork_armed)


def start(process_obj: Any) -> None:
    """Starts the child. When this returns, the kernel will end it with this process.

    Raises `GuardUnavailable` if the kernel can't keep that promise, and OSError when resources run
    out. A failed start leaves nothing behind.
    """
    gevent.check()
    if forking.begin_start():
        # In a signal handler that has interrupted a start of this thread.
        bring_back = forking.save_start()
        try:
            start(process_obj)
        finally:
            bring_back()
        return
    try:
        _start(process_obj)
    except BaseException:
        if process_obj._popen is None:  # it may have been interrupted between the launch and that
            waiting.registry().end_child_of(process_obj)
        raise
    finally:
        forking.end_start()


def discard_child(process_obj: Any) -> None:
    """The process has been seen finished: `active_children` and the interpreter's exit need not ask it."""
    process._children.discard(process_obj)


def is_current(process_obj: object) -> bool:
    return process_obj is process.current_process()


def launch_spawn(popen: Any, process_obj: BaseProcess, spawnv: SpawnvPassfds, extra: Callable[[], object]) -> None:
    """Launches by ``spawnv(path, args, fds)``; ``extra()`` joins the preparation data, which is unpickled first."""

    from multiprocessing import popen_spawn_posix, spawn

    def preparation_data(name: str) -> dict[str, object]:
        return {"orphanguard": extra(), **spawn.get_preparation_data(name)}

    # Ours to close, whatever the other has come to when a signal handler raises.
    pipes: list[tuple[OwnFd, OwnFd]] = []

    def make_pipe() -> tuple[int, int]:
        pipes.append(pipe())
        return pipes[-1][0].fd, pipes[-1][1].fd

    try:
        replaced(
            popen_spawn_posix.Popen._launch,  # type: ignore[attr-defined]
            os=Overlay(os, pipe=make_pipe, close=bool),
            spawn=Overlay(spawn, get_preparation_data=preparation_data),
            util=Overlay(util, spawnv_passfds=spawnv, Finalize="".format, close_fds=None),
        )(popen, process_obj)
    finally:
        for reader, writer in pipes:
            reader.close()
            writer.close()


def dump_for_forkserver(popen: Any, process_obj: BaseProcess, extra: Callable[[], object]) -> tuple[bytes, bytes]:
    """What a fork server's child reads from its data pipe: ``extra()`` and how to prepare itself, then the process."""
    from multiprocessing import spawn

    preparation, process_data = io.BytesIO(), io.BytesIO()
    context.set_spawning_popen(popen)
    try:
        data = spawn.get_preparation_data(process_obj.name)
        context.reduction.dump({"orphanguard": extra(), **data}, preparation)
        context.reduction.dump(process_obj, process_data)
    finally:
        context.set_spawning_popen(None)
    return preparation.getvalue(), process_data.getvalue()


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
    # The server ends when nobody has its write end: with a start that a signal handler has interrupted.
    alive = OwnFd(), OwnFd()

    def open_alive() -> tuple[int, int]:
        make_pipe(*alive)
        return alive[0].fd, alive[1].fd

    def close_other(fd: int) -> None:
        if fd not in (alive[0].fd, alive[1].fd):
            close(fd)

    def hand_over() -> None:
        if forkserver_pid() and server._forkserver_alive_fd == alive[1].fd:
            alive[1].release()

    ensure_running = replaced(
        forkserver.ForkServer.ensure_running,
        os=Overlay(os, pipe=open_alive, close=close_other),
        util=Overlay(util, spawnv_passfds=spawnv),
    )
    try:
        ensure_running(server)
        hand_over()
    except BaseException:
        hand_over()
        for end in alive:
            end.close()
        raise


def forkserver_pid() -> int | None:
    """None: there is no server, as far as the standard library knows."""
    from multiprocessing import forkserver

    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def forkserver_connect(fds: list[int]) -> tuple[OwnFd, OwnFd, OwnFd]:
    """Has the fork server fork a child. Returns the read end of its status pipe, and both ends of its data pipe."""
    from multiprocessing import forkserver

    # Not between the connection and the request: the server does not survive a client that gives up there.
    # And an unguarded fork must not hide the end of either from its reader: the child, which is not armed before
    # its data have come; and us, when the server is gone.
    status, data = pipe(keep_from_forks=True), pipe(keep_from_forks=True)
    ready = [(data[0].fd, data[1].fd), (status[0].fd, status[1].fd)]
    connect = replaced(forkserver.ForkServer.connect_to_new_process, os=Overlay(os, pipe=ready.pop, close=bool))
    connect(forkserver._forkserver, fds)
    status[1].close()
    return status[0], *data


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

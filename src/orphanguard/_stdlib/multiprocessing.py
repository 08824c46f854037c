"""The one file that leans on private parts of ``multiprocessing``: CPython 3.10 to 3.15.

It runs the standard library's own functions, each with a few of the global names that it looks up replaced
(`orphanguard._core.borrowed`). Plain ``multiprocessing`` in the same interpreter stays as it is.

What it relies on, and tests/seams/test_drift.py checks:

- ``BaseProcess.start`` looks up ``_cleanup``. Ours is O(ended), theirs O(all children).
- ``popen_fork.Popen._launch`` calls ``os.fork`` once, and ``os.pipe`` twice before it: for the sentinel pipe, then for
  the data pipe, whose read end goes to ``_bootstrap(parent_sentinel=...)``. The parent's ends get into one
  ``util.Finalize``.
- ``popen_spawn_posix.Popen._launch`` calls ``os.pipe``, ``spawn.get_preparation_data`` and ``util.spawnv_passfds``. It
  closes the child's ends by ``os.close``, and leaves the parent's to a ``util.Finalize``.
- ``ForkServer.ensure_running`` calls ``os.pipe`` once, and ``util.spawnv_passfds``. It sets ``_forkserver_alive_fd``
  and, last, ``_forkserver_pid``. ``connect_to_new_process`` calls ``os.pipe`` twice. Both close ends by ``os.close``.
- ``spawn.prepare`` ignores keys that it does not know. The preparation data is unpickled before ``prepare`` runs.
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

# The stubs of typeshed leave out the private parts.
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
    """Stands for ``os.pipe`` in a fork. So the child gets its lifeline as the sentinel of its parent."""
    lifeline = forking.armed_next_fork()
    return lifeline, lifeline


_start = replaced(process.BaseProcess.start, _cleanup=waiting.sweep)


def launch_fork_by(fork: Callable[[], int]) -> Callable[..., Any]:
    """The ``_launch`` of a forked Popen, which forks by ``fork`` and makes no pipes."""
    return replaced(
        popen_fork.Popen._launch,
        # bool and format do nothing here. A function written in Python would cost each fork some pages.
        os=Overlay(os, pipe=_no_pipe, fork=fork, close=bool, _exit=os._exit),
        util=Overlay(util, Finalize="".format, close_fds=None),
    )


#: Called with a Popen and its process, after `forking.arm_next_fork`. If it raises in the parent, there is no child.
launch_fork = launch_fork_by(forking.fork_armed)


def start(process_obj: Any) -> None:
    """Starts the child. When this returns, the kernel will end the child with this process.

    Raises `GuardUnavailable` if the kernel can't keep that promise, and OSError when resources run out. A failed start
    leaves nothing behind.
    """
    gevent.check()
    if forking.begin_start():
        # This is a signal handler, which has interrupted a start of this thread.
        bring_back = forking.save_start()
        try:
            start(process_obj)
        finally:
            bring_back()
        return
    try:
        _start(process_obj)
    except BaseException:
        if process_obj._popen is None:  # an exception may have come between the launch and the setting of _popen
            waiting.registry().end_child_of(process_obj)
        raise
    finally:
        forking.end_start()


def discard_child(process_obj: Any) -> None:
    """Tells multiprocessing that the process has ended: `active_children` and the interpreter's exit skip it."""
    process._children.discard(process_obj)


def is_current(process_obj: object) -> bool:
    """Whether ``process_obj`` is multiprocessing's object of this very process."""
    return process_obj is process.current_process()


def launch_spawn(popen: Any, process_obj: BaseProcess, spawnv: SpawnvPassfds, extra: Callable[[], object]) -> None:
    """Launches by ``spawnv(path, args, fds)``. ``extra()`` joins the preparation data, which is unpickled first."""
    from multiprocessing import popen_spawn_posix, spawn

    def preparation_data(name: str) -> dict[str, object]:
        return {"orphanguard": extra(), **spawn.get_preparation_data(name)}

    # We close the pipes ourselves: a signal handler may raise before the standard library can.
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
    """What a fork server's child reads from its data pipe.

    First comes the preparation data, with ``extra()`` in it; then the process.
    """
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
    # The server ends when no process holds the write end of this pipe. So if an exception of a signal handler
    # interrupts the start, we close the ends that the standard library has not got, and the server ends.
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
    """The pid of the fork server; None if the standard library knows of no server."""
    from multiprocessing import forkserver

    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def forkserver_connect(fds: list[int]) -> tuple[OwnFd, OwnFd, OwnFd]:
    """Has the fork server fork a child. Returns the read end of its status pipe, and both ends of its data pipe."""
    from multiprocessing import forkserver

    # The server does not survive a client that gives up between the connection and the request. So we make the pipes
    # first. A forked child that kept a write end would hide the end of the file: hence keep_from_forks. The fork
    # server's child must see the end of the data pipe, since it is not armed before its data have come. We must see
    # the end of the status pipe, which tells that the server is gone.
    status, data = pipe(keep_from_forks=True), pipe(keep_from_forks=True)
    ready = [(data[0].fd, data[1].fd), (status[0].fd, status[1].fd)]
    connect = replaced(forkserver.ForkServer.connect_to_new_process, os=Overlay(os, pipe=ready.pop, close=bool))
    connect(forkserver._forkserver, fds)
    status[1].close()
    return status[0], *data


class Told:
    """A number that is read from a fork server's pipe once, and then kept for every further call."""

    _NUMBER = struct.Struct("q")  # as in forkserver.py
    _NOTHING = -(2**63)

    def __init__(self) -> None:
        self._buffer = bytearray(self._NUMBER.pack(self._NOTHING))

    def read(self, fd: int) -> int:
        """Returns the number, which comes from ``fd``. Raises EOFError if the server is gone."""
        # The system call itself writes into the buffer. (Eight bytes of a pipe come together.) A signal handler that
        # runs right after it, and asks for the number, finds it there.
        if self._number() == self._NOTHING:
            os.readv(fd, [self._buffer])
        if self._number() == self._NOTHING:
            raise EOFError("the fork server is gone")
        return self._number()

    def _number(self) -> int:
        number: int = self._NUMBER.unpack(self._buffer)[0]
        return number


def read_signed(fd: int) -> int:
    """Reads a number that the fork server has written: the child's pid, later its exit code.

    Raises EOFError if the server is gone.
    """
    from multiprocessing import forkserver

    number: int = forkserver.read_signed(fd)
    return number

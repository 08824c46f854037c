"""The forkserver start method: the child is the server's, but it lives and dies with the process that asked.

The server forks the child, so nothing of PDEATHSIG applies. The description of the lifeline travels through
the server as one more fd, and the child arms itself on it before anything of the user's is imported. The
parent calls the child started when it has heard so from the child itself: that proves as well that the pid
which the server told, and the pidfd opened by it, are this child's.

The server is a guarded child of the process that started it. Its death is nobody else's.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable, Sequence
from multiprocessing import context, popen_forkserver

from .._core import gevent, lifelines, pidfds, waiting
from .._core.child import Child
from .._core.errors import guard_error
from .._core.fds import OwnFd, pipe
from .._core.polling import wait_readable
from .._stdlib import multiprocessing as seam
from ._arrival import ANSWER, GO, Arming
from ._context import Guarded
from ._process import GuardedPopen, GuardedProcess
from ._spawn import spawnv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any

    from ._below import Held


_SERVER_TELLS = 1.0  # seconds, in which a server that runs has told a dead child's status many times over


def _ensure_running() -> None:
    """The server. Its lifeline stays open as long as it lives, in csrc/shim/lifeline.c; nobody else needs to hold it."""
    server = Child()

    def start(path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
        lifelines.open(server.held, pdeathsig=False)
        return spawnv(server, path, args, fds)  # the standard library waits for the server by it

    try:
        seam.forkserver_ensure_running(start, preload=__name__.rpartition(".")[0] + "._arrival")
        server.drop()
    except BaseException:
        if server.pidfd >= 0 and seam.forkserver_pid() == server.pid:
            server.drop()
        else:
            server.take_back()
        raise


def _write(pipe_end: OwnFd, data: bytes, child: Child) -> None:
    """To ``child``, as far as it lives: who ends before it has read all has been started, and has ended."""
    poller = gevent.original("select", "poll")()
    poller.register(pipe_end.fd, select.POLLOUT)
    poller.register(child.pidfd, select.POLLIN)
    left = memoryview(data)
    while left and child.pidfd not in dict(poller.poll()):
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(pipe_end.fd, left) :]


class ForkServerChild(Child):
    """A child whose parent, in the kernel's sense, is the fork server: that one reaps it and tells the status."""

    def __init__(self) -> None:
        super().__init__()
        self.status: OwnFd | None = None  #: read end of the pipe on which the server tells the exit code
        self.answered = False  #: the child itself is armed, and waits: the pid and the pidfd are its own
        self._told = seam.Told()

    def _status_after_reap(self) -> int | None:
        if not wait_readable(self.pidfd, 0):
            return None  # it runs
        known = pidfds.reaped_status(self.pidfd, self.identity)
        if known is not None:
            return known
        if self.status is not None and self.status.is_ours():
            if not wait_readable(self.status.fd, _SERVER_TELLS):
                return None  # the server is stopped; it will tell when it runs
            with contextlib.suppress(EOFError):
                return self._told.read(self.status.fd)
        # The server is gone. Whoever adopted the child reaps it, and then this kernel may know.
        known = pidfds.reaped_status(self.pidfd, self.identity, _SERVER_TELLS)
        return self._status_lost() if known is None else known

    def _close_unused(self) -> None:
        super()._close_unused()
        if (self.returncode is not None or self._closed) and not self._users and self.status is not None:
            self.status.close()


class Popen(GuardedPopen, popen_forkserver.Popen):
    method = "forkserver"

    def _launch(self, process_obj: BaseProcess) -> None:
        held = None
        answer_r = answer_w = go_r = go_w = data_r = data_w = OwnFd()
        child = ForkServerChild()
        try:
            lifelines.open(child.held, pdeathsig=False)
            # No forked child of ours keeps a write end: the end of the answers is the child's end, and the end of
            # this start is that of the child which waits for it.
            answer_r, answer_w = pipe(keep_from_forks=True)
            if process_obj._tree is None:  # type: ignore[attr-defined]
                go_r, go_w = pipe(keep_from_forks=True)
            else:
                held = self.below(child, process_obj)
                go_r, go_w = held.go_r, held.go_w
            arming = self._arming((child.lifeline, answer_w.fd, go_r.fd), held)
            preparation, data = seam.dump_for_forkserver(self, process_obj, lambda: arming)
            _ensure_running()
            # We keep a reader: the child may end at any time, and a write to it would be a SIGPIPE.
            child.status, data_r, data_w = seam.forkserver_connect(self._fds)
            os.set_blocking(data_w.fd, False)
            answer_w.close()
            self.pid = seam.read_signed(child.status.fd)
            pidfds.hold(child.held, self.pid)
            child.held.running = 1
            _write(data_w, preparation, child)
            self._await_answer(answer_r.fd, child)
            self.pdeathsig = False
            self.adopt(child, process_obj)
            os.write(go_w.fd, GO)
            if held is not None:
                held.release()
            _write(data_w, data, child)  # may be megabytes, so only to one that reads
        except BaseException:
            waiting.registry().remove(child)
            # Without all of its data, or without GO, the child ends by itself.
            data_w.close()
            go_w.close()
            if child.answered:
                with contextlib.suppress(OSError):
                    child.abort()
            child.drop()
            raise
        finally:
            for fd in (answer_r, answer_w, go_r, go_w, data_r, data_w):
                fd.close()

    def _arming(self, fds: Sequence[int], held: Held | None) -> Arming:
        indexes = [self.duplicate_for_child(fd) for fd in fds]
        if held is None:
            return Arming("_arrival", "arrive_forked", *indexes)
        supervisor = held.supervisor
        more = [self.duplicate_for_child(fd) for fd in (*supervisor.fds, held.go_r.fd)]
        what = supervisor.containment, supervisor.signal
        return Arming("_below", "arrive_forked_below", indexes, more, supervisor.arguments, *what)

    def _await_answer(self, answer: int, child: ForkServerChild) -> None:
        """The child's own, or its end. The server's says nothing of the child, which may be slow."""
        poller = gevent.original("select", "poll")()
        for fd in (answer, child.pidfd):
            poller.register(fd, select.POLLIN)
        ready = dict(poller.poll())
        reply = os.read(answer, ANSWER.size) if answer in ready else b""
        if len(reply) < ANSWER.size:
            raise ChildProcessError(f"the fork server's child {self.pid} ended before it was armed")
        (code,) = ANSWER.unpack(reply)
        if code:
            raise guard_error(code, "arming of the fork server's child")
        owner = lifelines.owner(child.held)
        if owner != self.pid:
            raise ChildProcessError(f"the fork server's child calls itself {owner}, the server {self.pid}")
        child.answered = True
        lifelines.let_go(child.held)


class ForkServerProcess(GuardedProcess, context.ForkServerProcess):
    """`multiprocessing.context.ForkServerProcess` whose child dies with this process, and not before."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)


class ForkServerContext(Guarded, context.ForkServerContext):
    Process = ForkServerProcess

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

from .. import _gevent, _native, _waiting
from .._errors import guard_error
from .._fds import OwnFd, close
from .._native import wait_readable
from .._pidfd import Child
from . import _stdlib
from ._arrival import ANSWER, Arming
from ._context import Guarded
from ._process import GuardedPopen, GuardedProcess
from ._spawn import spawnv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any

    from ._below import Held


_SERVER_TELLS = 1.0  # seconds, in which a server that runs has told a dead child's status many times over


class _ServerLifeline:
    """The fork server's lifeline; given back when another server takes its place."""

    def __init__(self) -> None:
        self._fd = -1
        self._owner = 0

    def start(self, path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
        server = Child(_native.lifeline_open(pdeathsig=False))
        try:
            spawnv(server, path, args, fds)
        except BaseException:
            server.take_back()
            raise
        old = self._fd if self._owner == os.getpid() else -1
        self._fd, self._owner = server.lifeline, os.getpid()
        if old >= 0:
            _native.lifeline_close(old)
        server.close()
        return server.pid  # the standard library waits for the server by it


_server = _ServerLifeline()


class ForkServerChild(Child):
    """A child whose parent, in the kernel's sense, is the fork server: that one reaps it and tells the status."""

    def __init__(self, lifeline: int) -> None:
        super().__init__(lifeline)
        self.status: OwnFd | None = None  #: read end of the pipe on which the server tells the exit code
        self.answered = False  #: the child itself has said that it is armed: the pid and the pidfd are its own
        self._told = _stdlib.Told()

    def _status_after_reap(self) -> int | None:
        if not wait_readable(self.pidfd, 0):
            return None  # it runs
        known = _native.pidfd_reaped_status(self.pidfd, self.identity)
        if known is not None:
            return known
        if self.status is not None and self.status.is_ours():
            if not wait_readable(self.status.fd, _SERVER_TELLS):
                return None  # the server is stopped; it will tell when it runs
            with contextlib.suppress(EOFError):
                return self._told.read(self.status.fd)
        # The server is gone. Whoever adopted the child reaps it, and then this kernel may know.
        known = _native.pidfd_reaped_status(self.pidfd, self.identity, _SERVER_TELLS)
        return self._status_lost() if known is None else known

    def _close_unused(self) -> None:
        super()._close_unused()
        if (self.returncode is not None or self._closed) and not self._users and self.status is not None:
            self.status.close()


class Popen(GuardedPopen, popen_forkserver.Popen):
    method = "forkserver"

    def _launch(self, process_obj: BaseProcess) -> None:
        answer_r = answer_w = data_w = asker = -1
        sent = False
        held = None
        child = ForkServerChild(_native.lifeline_open(pdeathsig=False))
        try:
            answer_r, answer_w = _native.pipe()
            if process_obj._tree is not None:  # type: ignore[attr-defined]
                held = self.below(child, process_obj)
                asker = _native.pidfd_open(os.getpid())
            arming = self._arming(child.lifeline, answer_w, held, asker)
            data = _stdlib.dump_for_forkserver(self, process_obj, lambda: arming)
            _stdlib.forkserver_ensure_running(_server.start, preload=__name__.rpartition(".")[0] + "._arrival")
            status, data_w = _stdlib.forkserver_connect(self._fds)
            child.status = OwnFd(status)
            close(answer_w)
            answer_w = -1
            self.pid = child.pid = _stdlib.read_signed(status)
            child.pidfd = _native.pidfd_open(child.pid)
            child.identify()
            sent = True
            with open(data_w, "wb", closefd=False) as file:
                file.write(data)
            self._await_answer(answer_r, status, child)
            if held is not None:
                held.release()
            self.pdeathsig = False
            self.adopt(child, process_obj)
        except BaseException:
            _waiting.registry().remove(child)
            # Without all of its data the child ends by itself. With it, it answers first.
            with contextlib.suppress(OSError):
                if sent:
                    if data_w >= 0:
                        close(data_w)
                        data_w = -1
                    self._await_answer(answer_r, status, child)
                    child.abort()
            child.drop()
            raise
        finally:
            if held is not None:
                held.close()
            for fd in (answer_r, answer_w, data_w, asker):
                if fd >= 0:
                    close(fd)

    def _arming(self, lifeline: int, answer: int, held: Held | None, asker: int) -> Arming:
        indexes = [self.duplicate_for_child(fd) for fd in (lifeline, answer)]
        if held is None:
            return Arming("_arrival", "arrive_forked", *indexes)
        supervisor = held.supervisor
        more = [self.duplicate_for_child(fd) for fd in (*supervisor.fds, held.go, asker)]
        what = supervisor.containment, supervisor.signal
        return Arming("_below", "arrive_forked_below", *indexes, more, supervisor.arguments, *what)

    def _await_answer(self, answer: int, status: int, child: ForkServerChild) -> None:
        if child.answered:
            return
        poller = _gevent.original("select", "poll")()
        for fd in (answer, status, child.pidfd):
            poller.register(fd, select.POLLIN)
        ready = dict(poller.poll())
        reply = os.read(answer, ANSWER.size) if answer in ready else b""
        if len(reply) < ANSWER.size:
            raise ChildProcessError(f"the fork server's child {self.pid} ended before it was armed")
        pid, code = ANSWER.unpack(reply)
        if code:
            raise guard_error(code, "arming of the fork server's child")
        if pid != self.pid:
            raise ChildProcessError(f"the fork server's child calls itself {pid}, the server {self.pid}")
        child.answered = True


class ForkServerProcess(GuardedProcess, context.ForkServerProcess):
    """`multiprocessing.context.ForkServerProcess` whose child dies with this process, and not before."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)


class ForkServerContext(Guarded, context.ForkServerContext):
    Process = ForkServerProcess

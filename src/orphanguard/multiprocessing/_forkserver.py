"""The forkserver start method: the fork server forks the child, which dies with the process that asked for it.

PDEATHSIG would follow the server, so it is not armed. The description of the lifeline travels through the server as one
more fd, and the child arms itself on it before anything of the user's is imported. ``start()`` returns only after the
child itself has answered that it is armed. The answer also proves that the pid which the server has told, and the pidfd
opened by that pid, are this child's.

The server is a guarded child of the process that started it. The server's death kills no other process. Needs
_arrival.py in the child, and the seams of ``ForkServer`` in _stdlib/multiprocessing.py.
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

    from ._under_supervisor import HeldStart


_SERVER_TELLS = 1.0  # seconds; a server that is not stopped needs a small part of that to tell a dead child's status


def _ensure_running() -> None:
    """Starts the fork server if there is none, as a guarded child.

    The server stays armed after `Child.drop`: the shim keeps the description of a child that lives (csrc/shim/slot.c).
    """
    server = Child()

    def start(path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
        lifelines.open(server.held, pdeathsig=False)
        return spawnv(server, path, args, fds)  # the standard library waits for the server by this pid

    try:
        seam.forkserver_ensure_running(start, preload=__name__.rpartition(".")[0] + "._arrival")
        server.drop()
    except BaseException:
        if server.pidfd >= 0 and seam.forkserver_pid() == server.pid:
            server.drop()  # the standard library knows the server already and will use it
        else:
            server.take_back()
        raise


def _write(pipe_end: OwnFd, data: bytes, child: Child) -> None:
    """Writes ``data`` to ``child``, until all is written or the child has ended.

    A child that ends before it has read everything has been started and has ended: that is no error of the start.
    """
    poller = gevent.original("select", "poll")()
    poller.register(pipe_end.fd, select.POLLOUT)
    poller.register(child.pidfd, select.POLLIN)
    left = memoryview(data)
    while left and child.pidfd not in dict(poller.poll()):
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(pipe_end.fd, left) :]


class ForkServerChild(Child):
    """A child whose parent, in the kernel's sense, is the fork server: the server reaps it and tells its status."""

    def __init__(self) -> None:
        super().__init__()
        self.status: OwnFd | None = None  #: read end of the pipe on which the server tells the exit code
        self.answered = False  #: the lifeline's owner is the pid that the server told: it may be killed
        self._told = seam.Told()

    def _status_after_reap(self) -> int | None:
        if not wait_readable(self.pidfd, 0):
            return None  # the child runs
        known = pidfds.reaped_status(self.pidfd, self.identity)
        if known is not None:
            return known
        if self.status is not None and self.status.is_ours():
            if not wait_readable(self.status.fd, _SERVER_TELLS):
                return None  # the server is stopped, and will tell the status when it goes on
            with contextlib.suppress(EOFError):
                return self._told.read(self.status.fd)
        # The server is gone. The process that has adopted the child reaps it, and then this kernel may know the status.
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
            # No forked child keeps a write end of the pipes below. So the answers end when the child ends, and if this
            # start fails, the child that waits for GO reads the end of its pipe and ends.
            answer_r, answer_w = pipe(keep_from_forks=True)
            if process_obj._tree is None:  # type: ignore[attr-defined]
                go_r, go_w = pipe(keep_from_forks=True)
            else:
                held = self.held_start(child, process_obj)
                go_r, go_w = held.go_r, held.go_w
            arming = self._arming((child.lifeline, answer_w.fd, go_r.fd), held)
            preparation, data = seam.dump_for_forkserver(self, process_obj, lambda: arming)
            _ensure_running()
            # This process keeps a read end too, data_r. The child may end at any time, and a write to a pipe without
            # a reader would raise SIGPIPE.
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
            _write(data_w, data, child)  # may be megabytes, and the child reads them only after GO
        except BaseException:
            waiting.registry().remove(child)
            # A child that does not get all of its data, or does not get GO, ends by itself.
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

    def _arming(self, fds: Sequence[int], held: HeldStart | None) -> Arming:
        """What the child unpickles first. ``fds``: the lifeline, the pipe for the answer, and the pipe for GO."""
        indexes = [self.duplicate_for_child(fd) for fd in fds]
        if held is None:
            return Arming("_arrival", "arrive_forked", *indexes)
        supervisor = held.supervisor
        more = [self.duplicate_for_child(fd) for fd in (*supervisor.fds, held.go_r.fd)]
        what = supervisor.containment, supervisor.signal
        return Arming("_under_supervisor", "arrive_forked_below", indexes, more, supervisor.arguments, *what)

    def _await_answer(self, answer: int, child: ForkServerChild) -> None:
        """Waits until the child answers or ends. Raises ChildProcessError or OSError if the child is not armed.

        Does not look whether the server lives: a slow child may still answer when the server is dead.
        """
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

"""One child as its parent holds it: its identity (a pidfd), its lifeline, its exit code.

A wait and a signal reach the child or nothing. A pid can belong to another process by the time it is used; a pidfd
(Linux 5.3) cannot. So a wait is ``poll(pidfd)`` and then ``waitid(P_PIDFD)``, a signal goes by ``pidfd_send_signal``,
and neither uses a pid.

Any thread and any signal handler may ask at any time. The kernel lets only one caller reap a child. So every step that
ends in a reap or in a close holds `Child._lock`, and the poll, which blocks, does not hold it. A signal handler (of
SIGCHLD, say) can ask for the same child between any two steps of a thread that holds the lock. So the lock is an RLock,
the exit code is stored before the reap, which can be done only once, and the pidfd is closed when its last user has
left.

Needs `lifelines` and `pidfds`; for a wait, `polling` or gevent's hub.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from _thread import RLock  # threading's is a function of Python's around it: more pages for a fork to copy

from . import gevent, lifelines, pidfds
from .errors import StatusLostWarning
from .polling import pause, wait_readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .supervisor import Supervisor

#: What the standard library's fork server reports for a child whose status was lost.
STATUS_LOST = 255
# poll() reports a child that a debugger traces as dead a moment before its parent may reap it.
_RETRY = 0.001  # seconds
# Where SIGCHLD is ignored, the kernel reaps a child at once, unless the machine is very busy.
_REAPED_WITHIN = 1.0  # seconds


class Child:
    """A child that this process started, or had a fork server start.

    It owns the pidfd and the lifeline. It is made before either is opened, so that an interrupted start has one owner
    for whatever exists by then. When it is collected, it gives both back. A child that still runs stays armed
    (csrc/shim/lifeline.c), and its pidfd stays open (csrc/shim/child.c).
    """

    supervisor: Supervisor | None = None  #: set where the child is a supervisor, which gets signals as orders

    def __init__(self, *, closes: bool = False) -> None:
        self.held, self._gives_back = lifelines.held()  #: the shim fills it in
        self.returncode: int | None = None
        self._owner = os.getpid()
        self._lock = RLock()
        self.watched = False  #: the registry has its pidfd in an epoll
        # Calls that are using the pidfd, in threads and below signal handlers. If it were closed under one of them, the
        # call could meet another file that has got the number.
        self._users = 0
        self._closed = False  #: the pidfd is closed when neither a user nor the registry needs it
        self._closes = closes  # so after the reap: no other code knows the pidfd

    @property
    def pid(self) -> int:
        number: int = self.held.pid
        return number

    @property
    def pidfd(self) -> int:
        number: int = self.held.pidfd
        return number

    @property
    def identity(self) -> int:
        """The identity of the pidfd. The number of the pidfd proves nothing: see csrc/shim/pidfd.c."""
        number: int = self.held.identity
        return number

    @property
    def lifeline(self) -> int:
        """This process's fd of the child's description, until the child is armed; then -1."""
        number: int = self.held.lifeline
        return number

    @property
    def flat(self) -> int:
        """Why its lifeline is flat: the errno with which the tether failed (csrc/shim/tether.c). 0: it has a tether."""
        code: int = self.held.flat
        return code

    @property
    def inherited(self) -> bool:
        """Whether this is a copy in a forked child, which has no say over its siblings."""
        return self._owner != os.getpid()

    def check(self) -> None:
        """OSError (EBADF) if this program has closed the pidfd."""
        pidfds.check(self.pidfd, self.identity)

    def poll(self) -> int | None:
        """The exit code (minus the signal) if the child has ended, else None. Does not block."""
        if not self._settled() and not self.inherited:
            with self._lock:
                if not self._settled() and not self._closed:
                    self._users += 1
                    try:
                        self._ended(self._status() if self.returncode is None else self.returncode)
                    finally:
                        self._users -= 1
                        self._close_unused()
            self._close_left()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits up to ``timeout`` seconds (None: for ever) for the child's end. Returns what `poll` returns."""
        if self.returncode is not None or self.inherited:
            return self.poll()
        deadline = None if timeout is None else time.monotonic() + timeout
        uses = False
        try:
            with self._lock:
                if self._closed:
                    return self.returncode
                uses = True  # in here, since a signal handler may raise at the end of the `with`
                self._users += 1
            green = gevent.patched()
            if timeout is None and not green and self._wait_for_ever():
                return self.returncode
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                self.check()
                if not (gevent.wait_readable([self.pidfd], left) if green else wait_readable(self.pidfd, left)):
                    return self.returncode
                if self.poll() is not None or (left is not None and left <= 0):
                    return self.returncode
                time.sleep(_RETRY)
        finally:
            if uses:
                with self._lock:
                    self._users -= 1
                    self._close_unused()
            self._close_left()

    def _wait_for_ever(self) -> bool:
        """Waits by one system call less. False: the child is not ours to reap, or other code has reaped it."""
        while True:
            try:
                status = pidfds.wait(self.pidfd, self.identity)
            except InterruptedError:
                continue  # PEP 475
            except ChildProcessError:
                return False
            with self._lock:
                self._ended(status)
            return self.returncode is not None

    def claim(self) -> bool:
        """Keeps the pidfd open until `unwatched`, for the registry, which is about to watch it.

        Returns False if the child has ended. Raises OSError (EBADF) as `check` does. The caller must not hold the
        registry's lock: see below.
        """
        with self._lock:
            if not self.watched and self.returncode is None and not self._closed:
                self.check()
                self.watched = True
            claimed = self.watched
        self._close_left()
        return claimed

    # The registry calls the next two with its own lock held. The main thread may hold our lock, and be interrupted by a
    # signal handler that waits for the registry's lock. If these two waited for our lock, the two threads would wait
    # for each other for ever. So they do not wait: the holder of our lock tells the registry, and closes the pidfd,
    # when it is done.

    def poll_unless_busy(self) -> int | None:
        """As `poll`, unless another thread holds the lock: then what is known already."""
        if not self._settled() and self._lock.acquire(blocking=False):
            try:
                return self.poll()
            finally:
                self._lock.release()
        return self.returncode

    def unwatched(self) -> None:
        """The registry calls this when it has taken the pidfd out of its epoll."""
        self.watched = False
        if self._lock.acquire(blocking=False):
            try:
                self._close_unused()
            finally:
                self._lock.release()

    def _close_left(self) -> None:
        """Closes the pidfd if `unwatched` has found the lock held. The holder calls this after it has released it."""
        if self._closed and not self.watched and self.pidfd >= 0 and not self.inherited:
            self.unwatched()

    def send_signal(self, signal: int) -> None:
        """Sends ``signal`` to the child; under a supervisor, to the command. Does nothing if the child has been reaped.

        Raises PermissionError as kill(2).
        """
        if self.supervisor is not None and signal:
            self._until_reaped(self.supervisor.signal_command, signal)
        else:
            self._until_reaped(self._send, signal)

    def terminate(self) -> None:
        """Sends SIGTERM. Under a supervisor, sends it to the whole tree, or ends the tree if there is a grace."""
        if self.supervisor is not None:
            self._until_reaped(self.supervisor.terminate)
        else:
            self.send_signal(15)

    def kill(self) -> None:
        """Sends SIGKILL; under a supervisor, to the whole tree, and the supervisor ends last."""
        if self.supervisor is not None:
            self._until_reaped(self.supervisor.kill)
        else:
            self.send_signal(9)

    def _send(self, signal: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # other code has reaped it
            pidfds.send_signal(self.pidfd, self.identity, signal)

    def _until_reaped(self, call: Callable[..., None], *arguments: int) -> None:
        """Calls with the lock held, so that nobody reaps the child meanwhile. Does nothing if it has been reaped."""
        try:
            with self._lock_unless_inherited():
                if self.returncode is None and not self._closed:
                    call(*arguments)
        finally:
            self._close_left()

    def _lock_unless_inherited(self) -> contextlib.AbstractContextManager[object]:
        """The lock; nothing in a forked child, where the holder may be a thread that only the parent has.

        A context manager of our own, written in Python, would not do: a signal handler that raises while its code runs
        leaves the lock held.
        """
        return contextlib.nullcontext() if self.inherited else self._lock

    def close(self) -> None:
        """Closes the pidfd when its last user has left. For a child that has ended, or that another process reaps."""
        if self.inherited:
            return
        try:
            with self._lock:
                self._closed = True
                self._close_unused()
        finally:
            self._close_left()

    def _close_unused(self) -> None:
        if self._closed and not (self._users or self.watched):
            pidfds.close(self.held)

    def _status(self) -> int | None:
        try:
            return pidfds.status(self.pidfd, self.identity)
        except ChildProcessError:
            pass
        # The child is not ours to reap; or a signal handler, which has called this object, or other code has reaped it.
        return self._status_after_reap() if self.returncode is None else self.returncode

    def _status_after_reap(self) -> int | None:
        """The exit code of a child that we have not reaped: SIGCHLD is ignored, or other code called os.waitpid(-1)."""
        # Where SIGCHLD is ignored, poll() reports the child as dead, and waitid() no longer knows it, a moment before
        # the kernel tells its status.
        status = pidfds.reaped_status(self.pidfd, self.identity, _REAPED_WITHIN)
        return self._status_lost() if status is None else status

    def _status_lost(self) -> int:
        warnings.warn(
            f"the exit status of process {self.pid} was taken by somebody else (SIGCHLD is ignored, or a stray "
            f"waitpid) and this kernel doesn't keep it (Linux 6.15 does): reporting {STATUS_LOST}",
            StatusLostWarning,
            stacklevel=2,
        )
        return STATUS_LOST

    def _ended(self, returncode: int | None) -> None:
        """Stores the exit code, then reaps the child and gives back what only a living child needs. None: it runs.

        A signal handler can ask for the same child between any two steps. So every step may be done twice.
        """
        if returncode is None:
            return
        if self.returncode is None:
            self.returncode = returncode
        pidfds.reap(self.held)
        if self.supervisor is not None:
            self.supervisor.close()
        if self._closes:
            self._closed = True

    def _settled(self) -> bool:
        """Whether the end has been seen, and no exception has kept `_ended` from the reap, which frees the strand."""
        return self.returncode is not None and self.held.strand < 0

    def abort(self) -> None:
        """Ends a child whose start has failed half-way, and gives back all that this object holds."""
        self.kill()
        self.wait()
        self.close()

    def adopt_forked(self, pid: int, patience: float = 0) -> None:
        """Opens the pidfd of the child ``pid``, which the standard library has forked and which arms itself on our
        lifeline.

        ``patience``: for how many seconds the child may still be about to arm itself.
        """
        try:
            if self.pidfd < 0:  # else an exception has interrupted an earlier call of this
                pidfds.hold(self.held, pid)
                self.held.running = 1
        except ProcessLookupError:
            pass
        except OSError:  # no pidfd, so no child. As long as nobody has reaped it, the pid is its own
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            self.returncode = -9
            raise
        # The child may have ended, other code may have reaped it, and the pid may be another process's by now. The
        # owner of the description proves who it is: the kernel notes the process there, not its number, and forgets it
        # when the process is reaped.
        if self.pidfd >= 0 and self.lifeline >= 0:
            if self.owner(patience, pid) == pid:
                lifelines.let_go(self.held)
            else:
                pidfds.close(self.held)
        if self.pidfd < 0:
            self.returncode = self._status_lost()
            self.drop()

    def owner(self, patience: float, expected: int = 0) -> int:
        """The pid of the process that is armed on the lifeline; 0: none.

        Waits up to ``patience`` seconds until that is the pid ``expected``, or any where ``expected`` is 0.
        """
        deadline = time.monotonic() + patience
        while True:
            owner = lifelines.owner(self.held)
            if (owner and owner == (expected or owner)) or time.monotonic() >= deadline:
                return owner
            pause()

    def take_back(self) -> None:
        """For a start that has failed: leaves no process, zombie or fd, however far the start has got."""
        if self.pidfd >= 0:
            self.abort()
        else:
            self.drop()

    def drop(self) -> None:
        """Gives back all that this object holds: nobody asks for this child any more."""
        try:
            with self._lock_unless_inherited():
                lifelines.give_back(self.held)
                if self.supervisor is not None:
                    self.supervisor.close()
                self._closed = True
                self._close_unused()
        finally:
            self._close_left()

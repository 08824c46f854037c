"""One child process: its identity (a pidfd), its lifeline, its end.

A pid can belong to somebody else by the time it is used; a pidfd (Linux 5.3) can't. So waiting is
``poll(pidfd)`` and then ``waitid(P_PIDFD)``, signals go by ``pidfd_send_signal``, and no pid is used for
either. The kernel lets only one caller reap a child; everything that ends in a reap or in a close therefore
holds `Child._lock`, and what blocks (the poll) does not.

A signal handler (of SIGCHLD, say) may ask for the same child between any two steps of a thread that holds the
lock. So it is an RLock, what can be done only once (a reap) comes after its result has been stored, and fds are
closed when the last user is out.
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
    from .supervisor import Supervisor

#: What the standard library's fork server reports for a child whose status was lost.
STATUS_LOST = 255
# A child that a debugger traces is dead for poll() a moment before its parent may reap it.
_RETRY = 0.001  # seconds
# The kernel does it by itself at once, unless the machine is very busy.
_REAPED_WITHIN = 1.0  # seconds


class Child:
    """A child that this process started, or had a fork server start.

    Owns the pidfd and the lifeline. Made before either is opened, so that a start which is interrupted has one owner
    for whatever there is. When it is collected both are given back; the lifeline stays as long as its child
    lives all the same (csrc/shim/lifeline.c).
    """

    supervisor: Supervisor | None = None  #: this process is one, and signals go to it as orders

    def __init__(self, *, closes: bool = False) -> None:
        self.held, self._gives_back = lifelines.held()  #: for the shim to fill in
        self.returncode: int | None = None
        self._owner = os.getpid()
        self._lock = RLock()
        self.watched = False  #: the registry has its pidfd in an epoll
        self._users = 0  # who must not find another's fd under a number of ours: threads, interrupted ones
        self._closed = False
        self._closes = closes  # by itself, when it has been reaped: nobody else knows of the pidfd

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
        """Of the pidfd, whose number alone proves nothing: see csrc/shim/pidfd.c."""
        number: int = self.held.identity
        return number

    @property
    def lifeline(self) -> int:
        """The number of its description here, until the child is armed."""
        number: int = self.held.lifeline
        return number

    @property
    def flat(self) -> int:
        """The errno for which its lifeline hangs on no tether (csrc/shim/tether.c); 0: it does."""
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
        """Waits up to ``timeout`` seconds (None: for ever) for the child's end. As `poll` otherwise."""
        if self.returncode is not None or self.inherited:
            return self.poll()
        deadline = None if timeout is None else time.monotonic() + timeout
        uses = False
        try:
            with self._lock:
                if self._closed:
                    return self.returncode
                uses = True  # before the count: an exception may come at the end of the with
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
        """With one system call less. False: it is not ours to reap, or no longer."""
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
        """Keeps the pidfd open until `unwatched`, for the registry, which is about to watch it. False: it has ended.

        Not with the registry's lock held: see below. OSError (EBADF) as `check`.
        """
        with self._lock:
            if not self.watched and self.returncode is None and not self._closed:
                self.check()
                self.watched = True
            claimed = self.watched
        self._close_left()
        return claimed

    # The registry calls the next two with its own lock held. A signal handler that has interrupted a holder of ours
    # may be waiting for that one; so they don't wait for ours. Whoever holds it will tell, and close.

    def poll_unless_busy(self) -> int | None:
        if not self._settled() and self._lock.acquire(blocking=False):
            try:
                return self.poll()
            finally:
                self._lock.release()
        return self.returncode

    def unwatched(self) -> None:
        """The registry has taken it out of its epoll."""
        self.watched = False
        if self._lock.acquire(blocking=False):
            try:
                self._close_unused()
            finally:
                self._lock.release()

    def _close_left(self) -> None:
        """Whoever has held the lock calls it without: `unwatched` may have left the closing to them."""
        if self._closed and not self.watched and self.pidfd >= 0 and not self.inherited:
            self.unwatched()

    def send_signal(self, signal: int) -> None:
        """Sends ``signal``; nothing happens if the child has been reaped. PermissionError as kill(2).

        Under a supervisor the command gets it.
        """
        with self._lock_unless_inherited():
            if self.returncode is not None or self._closed:
                return
            if self.supervisor is not None and signal:
                self.supervisor.signal_command(signal)
                return
            with contextlib.suppress(ProcessLookupError):  # dead, and reaped by somebody else
                pidfds.send_signal(self.pidfd, self.identity, signal)
        self._close_left()

    def _lock_unless_inherited(self) -> contextlib.AbstractContextManager[object]:
        """In a forked child it may be held by a thread that there is not."""
        return contextlib.nullcontext() if self.inherited else self._lock

    def terminate(self) -> None:
        """SIGTERM. Under a supervisor it is for the whole tree, which is ended if there is a grace."""
        if self.supervisor is None:
            self.send_signal(15)
            return
        with self._lock_unless_inherited():
            if self.returncode is None and not self._closed:
                self.supervisor.terminate()

    def kill(self) -> None:
        """SIGKILL. Under a supervisor to the whole tree; it ends last."""
        if self.supervisor is None:
            self.send_signal(9)
            return
        with self._lock_unless_inherited():
            if self.returncode is None and not self._closed:
                self.supervisor.kill()

    def close(self) -> None:
        """Gives the pidfd back, once nobody polls it any more. For a child that has ended or is another's to reap."""
        if self.inherited:
            return  # the lock may be a thread's that this process does not have
        with self._lock:
            self._closed = True
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and not (self._users or self.watched):
            pidfds.close(self.held)

    def _status(self) -> int | None:
        try:
            return pidfds.status(self.pidfd, self.identity)
        except ChildProcessError:
            pass
        # Not ours to reap, or reaped: by a signal handler just now, or by somebody else.
        return self._status_after_reap() if self.returncode is None else self.returncode

    def _status_after_reap(self) -> int | None:
        """Somebody else was faster: SIGCHLD is ignored, or a stray ``os.waitpid(-1, 0)``."""
        # With SIGCHLD ignored it is dead for poll() and no child any more, a moment before its status is to be had.
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
        """Its end has been seen, and nothing is left to be done: `_ended` was not interrupted by an exception."""
        return self.returncode is not None and self.held.strand < 0

    def abort(self) -> None:
        """Ends a child whose start failed half-way, and gives back all that it held."""
        self.kill()
        self.wait()
        self.close()

    def adopt_forked(self, pid: int, patience: float = 0) -> None:
        """Takes the pidfd of a child that somebody has forked for us, armed on our lifeline.

        ``patience``: seconds for which it may still be about to arm itself.
        """
        try:
            if self.pidfd < 0:  # else an exception has interrupted this, and it is called again
                pidfds.hold(self.held, pid)
                self.held.running = 1
        except ProcessLookupError:
            pass
        except OSError:  # then there will be no child; as long as it has not been reaped, the pid is its own
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                os.kill(pid, 9)
                os.waitpid(pid, 0)
            self.returncode = -9
            raise
        # It may have ended and have been reaped behind our back, and its pid be another's by now. The kernel forgets
        # the owner of a description with the process, not with the number.
        if self.pidfd >= 0 and self.lifeline >= 0:
            if self.owner(patience, pid) == pid:
                lifelines.let_go(self.held)
            else:
                pidfds.close(self.held)
        if self.pidfd < 0:
            self.returncode = self._status_lost()
            self.drop()

    def owner(self, patience: float, expected: int = 0) -> int:
        """Who is armed on the lifeline, within ``patience`` seconds: ``expected``, or anybody. 0: nobody."""
        deadline = time.monotonic() + patience
        while True:
            owner = lifelines.owner(self.held)
            if (owner and owner == (expected or owner)) or time.monotonic() >= deadline:
                return owner
            pause()

    def take_back(self) -> None:
        """Its start has failed: leaves no process, zombie or fd, however far it got."""
        if self.pidfd >= 0:
            self.abort()
        else:
            self.drop()

    def drop(self) -> None:
        """Gives back all: nobody asks for this child any more."""
        with self._lock:
            lifelines.give_back(self.held)
            if self.supervisor is not None:
                self.supervisor.close()
            self._closed = True
            self._close_unused()

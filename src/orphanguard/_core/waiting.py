"""Who has finished, among thousands, without asking each: one epoll over the pidfds of this process's children.

The standard library polls every live child at each start and every sentinel at each wait: O(all). An epoll
tells only of those that changed: O(finished). A child is added once, and taken out when its end has been seen by
anybody: a process when it starts, a program (`Popen`) when it is first waited for, since most never are.

Handles are held weakly. A process has its place in ``multiprocessing`` as long as it runs; a `Popen` that is dropped
must close its pipes, and a child of which nobody holds the handle is reaped all the same.

Several threads may wait at once, each for children of its own. One of them sleeps in the epoll for all; when
it wakes, it tells the others, and when it leaves, another takes its place. While somebody sleeps, nobody else
takes a child out of the epoll: the sleeper would never hear of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
import time
from collections.abc import Collection, Set
from weakref import WeakSet, ref

from . import gevent, polling
from .errors import os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol, TypeVar

    from .child import Child

    class Handle(Protocol):
        """What users hold: a `Process` or a `Popen`."""

        _held_while_it_runs: bool  # by somebody else

        def _started_child(self) -> Child:
            """Its `Child`; ValueError if it was not started, is closed, or is another process's."""
            ...

        def _seen_finished(self) -> None: ...

    T = TypeVar("T", bound=Handle)


class Registry:
    """The children of this process that nobody has seen finished, and the handles of those that have."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._epoll: select.epoll | None = None  # made with the first child
        self._live: dict[int, tuple[Child, ref[Handle]]] = {}
        # Their handles. To take the second from a set of thousands is one call, which looks at none of them.
        self._watched: set[ref[Handle]] = set()
        self._processes: set[Handle] = set()  # multiprocessing holds these as well, as long as they run
        self._finished: WeakSet[Handle] = WeakSet()
        self._sleeping = False
        self._sleeper = 0

    def add(self, child: Child, handle: Handle) -> None:
        """Starts watching a child that nobody else knows yet. Raises OSError (EMFILE, ENOSPC, ENOMEM), and watches
        nothing then."""
        child.watched = True
        self._watch(child, handle)

    def _watch(self, child: Child, handle: Handle) -> None:
        """Of a child whose ``watched`` is true: it keeps the pidfd open. Nothing is done where that is over already."""
        pidfd, entry = child.pidfd, (child, ref(handle))
        with self._lock:
            # Another thread may have been faster, and so may, between any two steps, a signal handler that waits for
            # the same child: it may be in here, or have been in here and have ended.
            try:
                epoll = self._own_epoll()
                here = self._live.get(pidfd)
                if not child.watched:
                    return
                if here is not None and here[0] is child:
                    if here[1]() not in (None, handle):
                        raise ValueError(f"{handle!r} is a copy of {here[1]()!r}, which is waited for")
                    self._live[pidfd] = entry  # a finaliser has brought the handle back, without the old reference
                    self._note(handle, entry[1])
                    return
                if here is not None:  # the program has closed that one's
                    self._take(here[0], tell=False)
                with contextlib.suppress(FileExistsError):
                    epoll.register(pidfd, select.EPOLLIN)
            except OSError:
                if child.watched:
                    child.unwatched()
                    raise
                return
            self._live.setdefault(pidfd, entry)
            self._note(handle, entry[1])
            if not child.watched:
                self._forget(handle, entry[1])
                if self._live.get(pidfd, entry) is entry:  # else the number is another child's by now
                    self._live.pop(pidfd, None)
                    with contextlib.suppress(OSError):
                        epoll.unregister(pidfd)

    def _note(self, handle: Handle, reference: ref[Handle]) -> None:
        self._watched.add(reference)
        if handle._held_while_it_runs:
            self._processes.add(handle)

    def _forget(self, handle: Handle | None, reference: ref[Handle]) -> None:
        self._watched.discard(reference)
        if handle is not None:
            self._processes.discard(handle)

    def ended(self, child: Child) -> None:
        """Somebody has seen the end of ``child``."""
        with self._lock:
            if not self._sleeping:  # else the sleeper is just being told
                self._take(child)

    def ended_unless_busy(self, child: Child) -> None:
        """From a finaliser, which may run in a thread that holds another child's lock: `claim` may be waiting for that
        one, called by a signal handler that has interrupted the holder of ours. Who comes next is told by the epoll."""
        if self._lock.acquire(blocking=False):
            try:
                self.ended(child)
            finally:
                self._lock.release()

    def remove(self, child: Child) -> None:
        """Its start has failed: nobody is told."""
        with self._lock:
            self._take(child, tell=False)

    def end_child_of(self, handle: Handle) -> None:
        """``handle.start()`` was interrupted when its child was here already."""
        with self._lock:
            children = [child for child, other in self._live.values() if other() is handle]
        for child in children:
            self.remove(child)
            child.abort()

    def forget(self, handle: Handle) -> None:
        """The handle was closed."""
        with self._lock:
            self._finished.discard(handle)
            self._forget(handle, ref(handle))

    def sweep(self) -> None:
        """Reaps whoever has ended. O(ended)."""
        with self._lock:
            if not self._sleeping:
                self._collect()

    def wait(self, handles: Collection[T], timeout: float | None) -> list[T]:
        deadline = None if timeout is None else time.monotonic() + timeout
        self.sweep()  # first, since it finds out whether the program has closed what was watched
        while self._admit(handles):
            pass
        while True:
            leads = False
            # A signal handler may raise at every call, so what undoes the sleep comes before it begins.
            try:
                with self._lock:
                    if not self._sleeping:
                        self._collect()
                    done = self._finished_among(handles)
                    left = None if deadline is None else deadline - time.monotonic()
                    if done or (left is not None and left <= 0):
                        return done
                    thread = threading.get_ident()
                    green = gevent.patched()  # greenlets of one thread: none sleeps for the others
                    if green:
                        pidfds = [handle._started_child().pidfd for handle in handles]
                    elif not self._sleeping:
                        epoll = self._own_epoll()
                        self._sleeper = thread
                        leads = self._sleeping = True
                    elif self._sleeper != thread:
                        self._changed.wait(left)
                        continue
                if green:
                    gevent.wait_readable(pidfds, left)
                    continue
                if not leads:
                    return self._wait_apart(handles, left)
                epoll.poll(left, 1)  # only to be woken: who takes the lock first collects
            finally:
                if leads:
                    self._sleeping = False
                    with self._lock:
                        self._changed.notify_all()

    @staticmethod
    def _wait_apart(handles: Collection[T], timeout: float | None) -> list[T]:
        """In a signal handler that has interrupted the sleeper: that one is told by the epoll, so leave it alone."""
        poller = select.poll()
        for handle in handles:
            poller.register(handle._started_child().pidfd, select.POLLIN)
        poller.poll(None if timeout is None else timeout * 1000)
        return [handle for handle in handles if handle._started_child().poll() is not None]

    def _collect(self) -> None:
        """Takes out those that have ended."""
        if self._epoll is None:
            return
        for pidfd, _ in self._own_epoll().poll(0):
            # None from poll(): traced, dead but not reapable yet. It stays, and epoll tells again.
            # No entry: a signal handler that ran here has taken it.
            entry = self._live.get(pidfd)
            try:
                if entry is not None and entry[0].poll_unless_busy() is not None:
                    self._take(entry[0])
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                self._replace_epoll()  # the pidfd has been closed, and a copy in a forked child keeps it in there

    def _own_epoll(self) -> select.epoll:
        """Made with the first child, and again when the program has closed all fds, as a daemon does."""
        if self._epoll is None or not polling.epoll_is_ours(self._epoll.fileno()):
            return self._replace_epoll()
        return self._epoll

    def _replace_epoll(self) -> select.epoll:
        if self._epoll is not None:
            _lost.append(self._epoll)  # never closed: its number is somebody else's by now
            self._epoll = None
        epoll = _new_epoll()
        polling.epoll_mark(epoll.fileno())
        for child, _ in list(self._live.values()):
            try:
                child.check()
                epoll.register(child.pidfd, select.EPOLLIN)
            except OSError:
                self._take(child, tell=False)  # whoever waits for it hears of it from check()
        self._epoll = epoll
        return epoll

    def _take(self, child: Child, tell: bool = True) -> None:
        pidfd = child.pidfd
        entry = self._live.get(pidfd)
        if entry is None or entry[0] is not child:
            return
        taken = self._live.pop(pidfd, None)
        if taken is not entry:  # a signal handler that ran here was faster, and may have started another child
            if taken is not None:
                self._live[pidfd] = taken
            return
        handle = entry[1]()
        # By hand: forked siblings hold copies of the pidfd, so closing it would leave it in.
        if self._epoll is not None:
            with contextlib.suppress(OSError):  # closed behind our back
                self._epoll.unregister(pidfd)
        child.unwatched()
        self._forget(handle, entry[1])
        if tell and handle is not None:
            self._tell(handle)

    def _tell(self, handle: Handle) -> None:
        self._finished.add(handle)
        handle._seen_finished()

    def _finished_among(self, handles: Collection[T]) -> list[T]:
        finished = self._finished
        if len(finished) > (len(handles) if isinstance(handles, (Set, dict)) else 8):
            return [handle for handle in handles if handle in finished]
        return [handle for handle in list(finished) if handle in handles]  # type: ignore[misc]

    def _admit(self, handles: Collection[T]) -> bool:
        """Watches those that are not watched yet. Raises for what can't be waited for.

        Returns False if all are watched or known to have finished, so that the epoll will tell of each.
        """
        others: Iterable[Any] = handles
        with contextlib.suppress(TypeError):  # what can't be in a set is refused below
            others = (handles if isinstance(handles, (set, frozenset)) else set(handles)) - self._processes
        changed = False
        for handle in others:
            if not hasattr(handle, "_started_child"):
                raise TypeError(_refusal(handle))
            if ref(handle) in self._watched or handle in self._finished:
                continue
            child = handle._started_child()
            if child.claim():
                self._watch(child, handle)
            else:
                child.poll()  # all of it, where a signal handler has interrupted who saw the end
                with self._lock:
                    self._tell(handle)
            changed = True
        return changed


def _refusal(handle: object) -> str:
    asynchronous = sys.modules.get("asyncio.subprocess")
    if asynchronous is not None and isinstance(handle, asynchronous.Process):
        return f"can't wait for {handle!r}: its event loop does; use await process.wait(), or asyncio.wait for many"
    return f"can't wait for {handle!r}: not an orphanguard process, neither Process nor Popen"


def _new_epoll() -> select.epoll:
    """One whose number is none of stdio, which this program may have closed."""
    make: type[select.epoll] = gevent.original("select", "epoll")
    below = []
    try:
        while (epoll := make()).fileno() <= _STDERR:
            below.append(epoll)
    except OSError as error:
        raise os_error(error.errno or errno.EMFILE, "epoll_create1") from None
    return epoll


_STDERR = 2
_registry = Registry()
_lost: list[object] = []


def registry() -> Registry:
    """That of this process. Made anew after a fork when it is first needed, not in an at-fork hook: most children
    never do, and what the hook touched, each would have to copy."""
    global _registry
    if _registry.owner != os.getpid():
        made = Registry()
        if _registry.owner != made.owner:  # else a signal handler, or another thread, was faster: its child is in there
            # Its epoll is the parent's too; not closed: by now the number may be another's.
            old, _registry = _registry, made
            _lost.append(old)
    return _registry


def sweep() -> None:
    """Reaps whoever has ended. O(ended)."""
    if _registry._live:
        registry().sweep()

"""Waiting for many children at once, by one epoll over the pidfds of this process's children.

It costs O(finished), where the standard library polls every live child at each start and every sentinel at each wait,
O(all). The epoll gets each child once: a `Process` when it starts, a `Popen` when it is first waited for, since most
are never waited for here. It loses the child when any thread has seen the end.

Any number of threads may wait, each for children of its own, and none misses an end. One thread, the sleeper, sleeps in
the epoll for all. When it wakes, it wakes the others; when it leaves, another thread takes its place. While it sleeps,
no other thread takes a child out of the epoll: the sleeper would never hear of that child.

The registry holds handles weakly. ``multiprocessing`` holds a `Process` as long as it runs. A `Popen` that the user has
dropped must be collected, to close its pipes; its child is reaped here all the same.

A signal handler may call anything here between any two steps. So the lock is an RLock, and a step looks again at what
the step before has found. Signal handlers run in the main thread, which can hold the registry's lock and wait for a
child's, or hold a child's and wait for the registry's. So no thread that holds the one waits for the other: with the
registry's lock it only tries a child's (`Child.poll_unless_busy`, `Child.unwatched`), and a finaliser, which can run
with a child's lock held, only tries the registry's (`Registry.ended_unless_busy`).

Needs `polling`, which recognises our epoll, and the handles of `Process` and `Popen`.
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

        _held_while_it_runs: bool  # by other code than the user's, so the registry may hold it too

        def _started_child(self) -> Child:
            """Its `Child`. Raises ValueError if it was not started, is closed, or belongs to another process."""
            ...

        def _seen_finished(self) -> None:
            """The registry calls this, with its lock held, when the child has ended."""
            ...

    T = TypeVar("T", bound=Handle)


class Registry:
    """The children of this process that nobody has seen finished, and the handles of those that have."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._epoll: select.epoll | None = None  # made with the first child
        self._live: dict[int, tuple[Child, ref[Handle]]] = {}  # by the number of the pidfd
        self._watched: set[ref[Handle]] = set()  # the handles of the live children
        # Those of them that multiprocessing holds as long as they run. `_admit` subtracts them from the user's set of
        # thousands by one call, which runs no Python for any of them.
        self._processes: set[Handle] = set()
        self._finished: WeakSet[Handle] = WeakSet()
        self._sleeping = False  # a thread sleeps in the epoll
        self._sleeper = 0  # the identifier of that thread

    def add(self, child: Child, handle: Handle) -> None:
        """Watches a child that no other code knows yet. Raises OSError (EMFILE, ENOSPC, ENOMEM), and then does not."""
        child.watched = True
        self._watch(child, handle)

    def _watch(self, child: Child, handle: Handle) -> None:
        """Adds a child whose ``watched`` is true, which keeps its pidfd open. Does nothing if it is no longer true."""
        pidfd, entry = child.pidfd, (child, ref(handle))
        with self._lock:
            # Another thread may have added the child before us. So may a signal handler that waits for the same child,
            # between any two steps from here on; and the child may even have ended in that handler.
            try:
                epoll = self._own_epoll()
                here = self._live.get(pidfd)
                if not child.watched:
                    return
                if here is not None and here[0] is child:
                    if here[1]() not in (None, handle):
                        raise ValueError(f"{handle!r} is a copy of {here[1]()!r}, which is waited for")
                    # The old reference is dead if a finaliser has brought the handle back.
                    self._live[pidfd] = entry
                    self._note(handle, entry[1])
                    return
                if here is not None:  # the program has closed the pidfd of that child, and ours has got the number
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
                if self._live.get(pidfd, entry) is entry:  # else another child has got the number
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
        """The caller has seen the end of ``child``."""
        with self._lock:
            if not self._sleeping:  # else the epoll wakes the sleeper, which takes the child out
                self._take(child)

    def ended_unless_busy(self, child: Child) -> None:
        """As `ended`, for a finaliser; does nothing if another thread holds the lock.

        A finaliser can run in a thread that holds the lock of a second child. The main thread may hold our lock, and be
        interrupted by a signal handler whose `Child.claim` waits for the lock of that second child. If the finaliser
        waited for our lock, the two threads would wait for each other for ever. The epoll still has the child, and
        tells the next `_collect`.
        """
        if self._lock.acquire(blocking=False):
            try:
                self.ended(child)
            finally:
                self._lock.release()

    def remove(self, child: Child) -> None:
        """Takes out a child whose start has failed, and tells nobody."""
        with self._lock:
            self._take(child, tell=False)

    def end_child_of(self, handle: Handle) -> None:
        """Ends the child of ``handle``, whose ``start()`` was interrupted when the child was here already."""
        with self._lock:
            children = [child for child, other in self._live.values() if other() is handle]
        for child in children:
            self.remove(child)
            child.abort()

    def forget(self, handle: Handle) -> None:
        """The user has closed the handle."""
        with self._lock:
            self._finished.discard(handle)
            self._forget(handle, ref(handle))

    def sweep(self) -> None:
        """Reaps the children that have ended. O(ended)."""
        with self._lock:
            if not self._sleeping:
                self._collect()

    def wait(self, handles: Collection[T], timeout: float | None) -> list[T]:
        """See `orphanguard.wait`, which calls this."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.sweep()  # before `_admit`: it takes out the children whose pidfds the program has closed
        while self._admit(handles):
            pass
        while True:
            leads = False
            # A signal handler may raise at every call. So the `finally` that ends the sleep covers its beginning too.
            try:
                with self._lock:
                    if not self._sleeping:
                        self._collect()
                    done = self._finished_among(handles)
                    left = None if deadline is None else deadline - time.monotonic()
                    if done or (left is not None and left <= 0):
                        return done
                    thread = threading.get_ident()
                    green = gevent.patched()  # then all greenlets share a thread, and each sleeps for itself
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
                epoll.poll(left, 1)  # only wakes us: the first thread that gets the lock collects
            finally:
                if leads:
                    self._sleeping = False
                    with self._lock:
                        self._changed.notify_all()

    @staticmethod
    def _wait_apart(handles: Collection[T], timeout: float | None) -> list[T]:
        """Waits in a signal handler that has interrupted the sleeper.

        The children stay in the epoll, so that it wakes the sleeper.
        """
        poller = select.poll()
        for handle in handles:
            poller.register(handle._started_child().pidfd, select.POLLIN)
        poller.poll(None if timeout is None else timeout * 1000)
        return [handle for handle in handles if handle._started_child().poll() is not None]

    def _collect(self) -> None:
        """Takes out the children that have ended. The caller holds the lock, and no thread sleeps."""
        if self._epoll is None:
            return
        for pidfd, _ in self._own_epoll().poll(0):
            # poll_unless_busy() returns None where another thread holds the child's lock, and for a child that a
            # debugger traces, which is dead but cannot be reaped yet. The child stays, and the epoll tells of it again.
            # There is no entry if a signal handler has taken the child out just now.
            entry = self._live.get(pidfd)
            try:
                if entry is not None and entry[0].poll_unless_busy() is not None:
                    self._take(entry[0])
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                # The program has closed the pidfd, and a copy in a forked child keeps it in the epoll.
                self._replace_epoll()

    def _own_epoll(self) -> select.epoll:
        """The epoll, made with the first child, and again when the program has closed all fds, as a daemon does."""
        if self._epoll is None or not polling.epoll_is_ours(self._epoll.fileno()):
            return self._replace_epoll()
        return self._epoll

    def _replace_epoll(self) -> select.epoll:
        if self._epoll is not None:
            _lost.append(self._epoll)  # kept: its finaliser would close a number that another file may have by now
            self._epoll = None
        epoll = _new_epoll()
        polling.epoll_mark(epoll.fileno())
        for child, _ in list(self._live.values()):
            try:
                child.check()
                epoll.register(child.pidfd, select.EPOLLIN)
            except OSError:
                self._take(child, tell=False)  # a thread that waits for it gets the error of check()
        self._epoll = epoll
        return epoll

    def _take(self, child: Child, tell: bool = True) -> None:
        """Takes ``child`` out, if it is here, and tells its handle. The caller holds the lock."""
        pidfd = child.pidfd
        entry = self._live.get(pidfd)
        if entry is None or entry[0] is not child:
            return
        taken = self._live.pop(pidfd, None)
        if taken is not entry:  # a signal handler has taken it just now, and may have started a child of this number
            if taken is not None:
                self._live[pidfd] = taken
            return
        handle = entry[1]()
        # Closing the pidfd would not take it out: siblings that were forked hold copies of it.
        if self._epoll is not None:
            with contextlib.suppress(OSError):  # the program has closed one of the two
                self._epoll.unregister(pidfd)
        child.unwatched()
        self._forget(handle, entry[1])
        if tell and handle is not None:
            self._tell(handle)

    def _tell(self, handle: Handle) -> None:
        self._finished.add(handle)
        handle._seen_finished()

    def _finished_among(self, handles: Collection[T]) -> list[T]:
        """Those of ``handles`` that have finished.

        Loops over the smaller collection. ``in`` is O(n) in a list, so it looks into a list 8 times at most.
        """
        finished = self._finished
        if len(finished) > (len(handles) if isinstance(handles, (Set, dict)) else 8):
            return [handle for handle in handles if handle in finished]
        return [handle for handle in list(finished) if handle in handles]  # type: ignore[misc]

    def _admit(self, handles: Collection[T]) -> bool:
        """Watches those of ``handles`` that are not watched yet. Raises for what can't be waited for.

        Returns False if there was nothing to do: each is watched, so the epoll will tell of it, or has finished.
        """
        others: Iterable[Any] = handles
        with contextlib.suppress(TypeError):  # for an object that can't be in a set; it is refused below
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
                child.poll()  # completes the reap, if an exception of a signal handler has prevented it
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
    """A new epoll whose number is not that of a standard stream, which this program may have closed."""
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
    """The registry of this process.

    A forked child makes its own when it first needs one, and not in an at-fork hook: most children never need one, and
    each would have to copy the pages that the hook touches.
    """
    global _registry
    if _registry.owner != os.getpid():
        made = Registry()
        if _registry.owner != made.owner:  # else a signal handler or another thread has made it, and put a child in it
            # The old registry is kept. Its finaliser would close the number of an epoll that the parent uses too, and
            # another file may have that number by now.
            old, _registry = _registry, made
            _lost.append(old)
    return _registry


def sweep() -> None:
    """Reaps the children of this process that have ended. O(ended)."""
    if _registry._live:
        registry().sweep()

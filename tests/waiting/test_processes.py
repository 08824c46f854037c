"""`orphanguard.wait` for `Process` objects: it returns those of many that have finished, in any thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest

import orphanguard
from tests.support.proc import DEATH
from tests.support.witness import METHODS

pytestmark = pytest.mark.starts_fork_server


def pause() -> None:
    signal.pause()


def nothing() -> None:
    pass


@pytest.fixture
def start():
    started = []

    def start(count: int, method: str = "fork", target=pause):
        context = orphanguard.get_context(method)
        processes = [context.Process(target=target) for _ in range(count)]
        for process in processes:
            process.start()
        started.extend(processes)
        return processes

    yield start
    for process in started:
        if not process._closed:
            process.kill()
            process.join()
            process.close()


@pytest.mark.parametrize("kind", [list, set, tuple, frozenset, iter, dict.fromkeys])
def test_collections(start, kind) -> None:
    processes = start(3)
    assert orphanguard.wait(kind(processes), timeout=0) == []
    processes[1].kill()
    assert orphanguard.wait(kind(processes), timeout=DEATH) == [processes[1]]
    assert processes[1].exitcode == -signal.SIGKILL


@pytest.mark.parametrize("method", METHODS)
def test_all_of_them_in_turn(start, method: str) -> None:
    waiting = set(start(5, method))
    for process in waiting:
        process.kill()
    while waiting:
        for process in orphanguard.wait(waiting):
            assert process.exitcode == -signal.SIGKILL
            waiting.remove(process)


def test_finished_ones_are_told_again(start) -> None:
    a, b = start(2)
    a.kill()
    assert orphanguard.wait([a, b]) == [a]
    assert orphanguard.wait([a, b]) == [a]
    a.join()
    assert orphanguard.wait([a, b]) == [a]
    b.kill()
    b.join()
    assert set(orphanguard.wait([a, b])) == {a, b}
    assert orphanguard.wait([b]) == [b]


def test_nothing_to_wait_for() -> None:
    assert orphanguard.wait([]) == []
    assert orphanguard.wait(set(), timeout=5) == []


def test_timeout(start) -> None:
    processes = start(2)
    before = time.monotonic()
    assert orphanguard.wait(processes, timeout=0.05) == []
    assert time.monotonic() - before >= 0.05
    assert orphanguard.wait(processes, timeout=-1) == []


def test_what_cannot_be_waited_for(start) -> None:
    with pytest.raises(ValueError, match="not started"):
        orphanguard.wait([orphanguard.Process(target=nothing)])
    [process] = start(1, target=nothing)
    process.join()
    process.close()
    with pytest.raises(ValueError, match="closed"):
        orphanguard.wait([process])
    for other in (multiprocessing.Process(target=nothing), 5, None):
        with pytest.raises(TypeError, match="not an orphanguard process"):
            orphanguard.wait([other])
    with pytest.raises(TypeError):
        orphanguard.wait(process)


def test_unstarted_among_running_ones(start) -> None:
    [process] = start(1)
    with pytest.raises(ValueError, match="not started"):
        orphanguard.wait([process, orphanguard.Process(target=nothing)], timeout=DEATH)
    with pytest.raises(TypeError, match="not an orphanguard process"):
        orphanguard.wait([process, 5], timeout=DEATH)


def test_threads_wait_for_children_of_their_own(start) -> None:
    """One thread sleeps in the epoll for all. Each must hear of its own child, and none must miss it."""
    processes = start(24)
    results: dict[int, list[object]] = {}

    def wait(index: int) -> None:
        results[index] = orphanguard.wait([processes[index]], timeout=DEATH)

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(24)]
    for thread in threads:
        thread.start()
    for index in reversed(range(24)):
        if index % 3 == 0:
            processes[index].kill()
        elif index % 3 == 1:
            os.kill(processes[index].pid, signal.SIGKILL)
        else:
            processes[index].kill()
            processes[index].join()  # not the sleeper reaps
    for thread in threads:
        thread.join()
    assert results == {index: [process] for index, process in enumerate(processes)}


def test_close_while_another_thread_waits(start) -> None:
    first, second = start(2)
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(orphanguard.wait([first], timeout=DEATH)))
    thread.start()
    second.kill()
    second.join()
    second.close()
    [third] = start(1)  # may get the number of the closed pidfd
    third.kill()
    assert orphanguard.wait([third], timeout=DEATH) == [third]
    assert thread.is_alive()
    first.kill()
    thread.join()
    assert results == [[first]]


def test_starting_reaps_the_finished() -> None:
    """A start reaps as in the standard library, but asks no live child."""
    context = orphanguard.get_context("fork")
    first = context.Process(target=nothing)
    first.start()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    second = context.Process(target=nothing)
    second.start()
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOHANG)
    assert first.exitcode == 0
    second.join()


def test_a_child_has_waits_of_its_own(start) -> None:
    start(2)
    process = orphanguard.get_context("fork").Process(target=wait_in_the_child)
    process.start()
    process.join(DEATH)
    assert process.exitcode == 5


def wait_in_the_child() -> None:
    process = orphanguard.get_context("fork").Process(target=nothing)
    process.start()
    assert orphanguard.wait([process]) == [process]
    os._exit(5)


def test_a_forked_process_that_needs_its_registry_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler, or another thread, makes the registry while it is being made. A child in it must not be
    lost."""
    from orphanguard._core import waiting

    made = []

    class Interrupted(waiting.Registry):
        def __init__(self) -> None:
            super().__init__()
            if not made:
                made.append(self)
                made.append(waiting.registry())

    with monkeypatch.context() as patched:
        patched.setattr(waiting, "_registry", waiting._registry)
        patched.setattr(waiting._registry, "owner", 0)  # as in a forked process
        patched.setattr(waiting, "Registry", Interrupted)
        first, handlers = waiting.registry(), made[1]
    waiting._lost.clear()
    assert first is handlers


class Interrupted(Exception):
    pass


class InterruptedLock:
    """An RLock. A signal handler raises after its n-th operation, when the call has returned."""

    def __init__(self, lock, operation: int) -> None:
        self.lock, self.left = lock, operation

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupted

    def acquire(self) -> None:
        self.lock.acquire()
        self._count()

    def release(self) -> None:
        self.lock.release()
        self._count()

    def __enter__(self) -> None:
        self.lock.acquire()  # no handler can run before ``with`` enters its block

    def __exit__(self, *_: object) -> None:
        self.release()


@pytest.mark.parametrize("operation", range(1, 9))
def test_a_wait_that_is_interrupted_at_its_lock(start, monkeypatch: pytest.MonkeyPatch, operation: int) -> None:
    """The next thread that waits must not believe that this thread sleeps in the epoll, nor find the lock held."""
    from orphanguard._core import waiting

    registry = waiting.registry()
    process, other = start(2)
    timer = threading.Timer(0.05, process.kill)
    timer.start()
    with monkeypatch.context() as patched:
        patched.setattr(registry, "_lock", InterruptedLock(registry._lock, operation))
        try:
            orphanguard.wait([process])
        except Interrupted:
            pass
        finally:
            operations = operation - registry._lock.left
    assert operations > 0
    timer.join()
    heard: list[object] = []
    threads = [
        threading.Thread(target=lambda one=one: heard.extend(orphanguard.wait([one], DEATH)), daemon=True)
        for one in (process, other)
    ]
    for thread in threads:
        thread.start()
    other.kill()
    for thread in threads:
        thread.join(DEATH)
    assert sorted(heard, key=id) == sorted((process, other), key=id)
    assert not registry._sleeping

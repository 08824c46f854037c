"""No worker dies because the thread that started it ends.

The standard library starts processes from helper threads all the time: a pool replaces its workers from one, a
manager's server has a thread for each connection, an executor starts workers from the thread that submits.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

import orphanguard
from tests.support.actor import in_a_thread_that_ends
from tests.support.proc import DEATH, LIFE
from tests.support.witness import METHODS, Watched

pytestmark = pytest.mark.starts_fork_server


def pid_after(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


def pids_of(submit, count: int) -> set[int]:
    found: set[int] = set()
    deadline = time.monotonic() + DEATH
    while len(found) < count and time.monotonic() < deadline:
        found |= set(submit())
    return found


@pytest.mark.parametrize("method", METHODS)
def test_pool(method: str) -> None:
    context = orphanguard.get_context(method)
    with in_a_thread_that_ends(lambda: context.Pool(2)) as pool:
        workers = pids_of(lambda: pool.map(pid_after, [0.02] * 4, chunksize=1), 2)
        watched = Watched(workers)
        assert sorted(watched.alive(within=LIFE)) == sorted(workers)
        assert set(pool.map(pid_after, [0.02] * 4)) <= workers
        watched.close(kill=False)


@pytest.mark.parametrize("method", METHODS)
def test_pool_replaces_its_workers(method: str) -> None:
    """The pool's handler thread starts the new workers, and these are guarded too."""
    with orphanguard.get_context(method).Pool(1, maxtasksperchild=1) as pool:
        pids = {pool.apply(pid_after) for _ in range(4)}
        assert len(pids) == 4
        assert all(worker.guard is not None for worker in pool._pool)


@pytest.mark.parametrize("method", METHODS)
def test_pool_of_a_manager(method: str) -> None:
    with orphanguard.get_context(method).Manager() as manager:
        pool = in_a_thread_that_ends(lambda: manager.Pool(2))
        workers = pids_of(lambda: pool.map(pid_after, [0.02] * 4, chunksize=1), 2)
        watched = Watched(workers)
        assert sorted(watched.alive(within=LIFE)) == sorted(workers)
        watched.close(kill=False)
        pool.terminate()


@pytest.mark.parametrize("method", METHODS)
def test_executor(method: str) -> None:
    with orphanguard.ProcessPoolExecutor(2, mp_context=orphanguard.get_context(method)) as executor:
        workers = pids_of(lambda: in_a_thread_that_ends(lambda: list(executor.map(pid_after, [0.05] * 4))), 2)
        watched = Watched(workers)
        assert sorted(watched.alive(within=LIFE)) == sorted(workers)
        assert set(executor.map(pid_after, [0.02] * 4)) <= workers
        watched.close(kill=False)


def set_pdeathsig() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def test_the_litmus_is_one() -> None:
    """The negative control: if a worker arms PDEATHSIG, the end of its forking thread kills it."""
    processes = []

    def start() -> None:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        up = context.SimpleQueue()
        process = context.Process(target=lambda: (set_pdeathsig(), up.put(1), signal.pause()))
        process.start()
        up.get()
        up.close()
        processes.append(process)

    in_a_thread_that_ends(start)
    processes[0].join(DEATH)
    assert processes[0].exitcode == -signal.SIGKILL
    processes[0].close()

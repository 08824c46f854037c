"""The safety net: a test that leaves a process, fd or thread behind fails, whatever it asserted."""

from __future__ import annotations

import functools
import gc
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker

import pytest

from orphanguard._core import waiting
from tests.support import fdtable
from tests.support.proc import children
from tests.support.starts import foreign_fork

# Where the suite runs in the background, a shell or nohup has had these ignored, and programs inherit that.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


def _tethers() -> int:
    """Another one may be in use than before, but there are no more."""
    fdtable.settle()
    return len(fdtable.tethers())


_first_fork = functools.cache(foreign_fork)


def _settle() -> None:
    """What the process makes once and keeps: not a leak of the test that happens to come first."""
    waiting.registry()._own_epoll()
    resource_tracker.ensure_running()
    _first_fork()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    _settle()
    before = (children(), set(threading.enumerate()), _tethers(), fdtable.open_fds())
    yield
    keeps_server = request.node.get_closest_marker("starts_fork_server") is not None
    deadline = time.monotonic() + 5
    while True:
        gc.collect()
        alive = children() - before[0]
        threads = set(threading.enumerate()) - before[1]
        tethers = max(_tethers() - before[2], 0)
        left = {fd: what for fd, what in fdtable.open_fds().items() if before[3].get(fd) != what}
        if keeps_server:
            # The server and its alive pipe stay, as they do in the standard library.
            alive -= {forkserver._forkserver._forkserver_pid}
            left = {fd: what for fd, what in left.items() if not what.startswith("pipe:")}
        if forkserver._forkserver._forkserver_pid is not None:
            tethers = max(tethers - 2, 0)  # on its own one 63 starts may have failed; one more is made then
        if not (alive or threads or tethers or left) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert not alive, f"left alive or unreaped: {alive}"
    assert not left, f"left open: {left}"
    assert not tethers, f"left open: {tethers} tethers and queues more than before"
    assert not threads, f"left running: {threads}"


@pytest.fixture
def many_fds() -> Iterator[None]:
    """Room for 4,096, for programs that are started as well. The usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 4096:
        pytest.skip(f"needs 4096 fds, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def needs_root_for():
    def check(needed: bool, why: str) -> None:
        if needed and os.geteuid() != 0:
            pytest.skip(why)

    return check

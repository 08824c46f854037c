"""The safety net: a test that leaves a process, an fd or a thread behind fails, whatever it asserts."""

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

# Where the suite runs in the background, a shell or nohup ignores these signals, and programs would inherit that.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


def _tethers() -> int:
    """The number of tethers. Another tether may be in use than before the test, but there must be no more."""
    fdtable.settle()
    return len(fdtable.tethers())


_first_fork = functools.cache(foreign_fork)


def _settle() -> None:
    """Makes what the process makes once and keeps. Else it would look like a leak of the first test."""
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
            # The fork server and its alive pipe stay, as in the standard library.
            alive -= {forkserver._forkserver._forkserver_pid}
            left = {fd: what for fd, what in left.items() if not what.startswith("pipe:")}
        if forkserver._forkserver._forkserver_pid is not None:
            tethers = max(tethers - 2, 0)  # one more when 63 starts have failed on its own
        if not (alive or threads or tethers or left) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert not alive, f"left alive or unreaped: {alive}"
    assert not left, f"left open: {left}"
    assert not tethers, f"left open: {tethers} tethers and queues more than before"
    assert not threads, f"left running: {threads}"


@pytest.fixture
def many_fds() -> Iterator[None]:
    """A soft limit of 4,096 fds, also for programs that the test starts. The usual one is 1,024."""
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

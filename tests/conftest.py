"""The safety net: a test that leaves a process, fd or thread behind fails, whatever it asserted."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest

from orphanguard import _native, _waiting

sys.path.insert(0, str(Path(__file__).parent))


#: A test may have put something else in its place, and a plugin's fixture may keep that there until after ours.
lifeline_open = _native.lifeline_open

# Where the suite runs in the background, a shell or nohup has had these ignored, and programs inherit that.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


def _children() -> set[int]:
    path = f"/proc/{os.getpid()}/task"
    found: set[int] = set()
    for task in os.listdir(path):
        with contextlib.suppress(FileNotFoundError):
            found.update(map(int, Path(path, task, "children").read_text().split()))
    return found


def _fds() -> dict[int, str]:
    """Without the description that is kept for the next child: not always the same one."""
    spare = lifeline_open(pdeathsig=False)
    result = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            result[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    del result[spare]
    _native.lifeline_close(spare)
    return result


def _settle() -> None:
    """What the process makes once and keeps: not a leak of the test that happens to come first."""
    _waiting.registry()._own_epoll()
    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    _settle()
    before = (_children(), _fds(), set(threading.enumerate()))
    yield
    keeps_server = request.node.get_closest_marker("starts_fork_server") is not None
    deadline = time.monotonic() + 5
    while True:
        gc.collect()
        children = _children() - before[0]
        fds = {fd: what for fd, what in _fds().items() if before[1].get(fd) != what}
        if keeps_server:
            # The server, its alive pipe and its lifeline stay, as they do in the standard library.
            children -= {forkserver._forkserver._forkserver_pid}
            fds = {fd: what for fd, what in fds.items() if not what.startswith("pipe:")}
        threads = set(threading.enumerate()) - before[2]
        if not (children or fds or threads) or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert not children, f"left alive or unreaped: {children}"
    assert not fds, f"left open: {fds}"
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

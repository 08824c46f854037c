"""A signal handler may ask for a child at any moment, also while the main thread asks for the same child."""

from __future__ import annotations

import pytest

from tests.support.witness import METHODS, python

pytestmark = pytest.mark.starts_fork_server

PROGRAM = """
import faulthandler, signal, sys, time
import orphanguard

faulthandler.dump_traceback_later(40, exit=True)
method, told_by_kernel = sys.argv[1], sys.argv[2] == "True"
context = orphanguard.get_context(method)
if not told_by_kernel:  # as before Linux 6.15: the status can be read once
    orphanguard._core.pidfds.reaped_status = lambda *_: None
live = []

def look(*_):
    for process in list(live):
        process.is_alive()

def look_often(*_):
    look()
    signal.setitimer(signal.ITIMER_REAL, 0.0005)  # only now, so that handlers do not pile up

signal.signal(signal.SIGCHLD, look)
signal.signal(signal.SIGALRM, look_often)
look_often()
started = 0
end = time.monotonic() + 2
while time.monotonic() < end or started < 30:
    process = context.Process(target=sys.exit, args=(7,))
    process.start()
    started += 1
    live.append(process)
    ended = [process for process in live if not process.is_alive()]
    assert all(process.exitcode == 7 for process in ended), ended
    live[:] = [process for process in live if process not in ended]
for process in live:
    process.join()
    assert process.exitcode == 7, process
signal.signal(signal.SIGALRM, signal.SIG_IGN)
"""


@pytest.mark.parametrize("told_by_kernel", (True, False), ids=("keeps-status", "old-kernel"))
@pytest.mark.parametrize("method", METHODS)
def test_they_ask_too(method: str, told_by_kernel: bool) -> None:
    python(PROGRAM, method, str(told_by_kernel), strict=True, check=True, timeout=100)


def test_a_handler_waits_while_its_thread_waits() -> None:
    """A handler interrupts orphanguard.wait(), and calls it too. Both calls hear of their own child."""
    program = """
import faulthandler, os, signal
import orphanguard
faulthandler.dump_traceback_later(20, exit=True)
context = orphanguard.get_context("fork")
inner, outer = [context.Process(target=signal.pause) for _ in range(2)]
inner.start(), outer.start()
heard = []
def look(*_):
    inner.kill()
    heard.extend(orphanguard.wait([inner]))
    outer.kill()
signal.signal(signal.SIGALRM, look)
signal.setitimer(signal.ITIMER_REAL, 0.1)
assert orphanguard.wait([outer]) == [outer]
assert heard == [inner]
assert orphanguard.wait([inner, outer], 0) in ([inner, outer], [outer, inner])
"""
    python(program, strict=True, check=True)


def test_a_handler_has_interrupted_a_holder_of_the_childs_lock() -> None:
    """The handler wants the registry's lock. Another thread has it, and wants the child's lock. There must be no
    deadlock."""
    program = """
import faulthandler, os, signal, threading
import orphanguard
from orphanguard._core import waiting
faulthandler.dump_traceback_later(30, exit=True)
process = orphanguard.get_context("fork").Process(target=int)
process.start()
os.waitid(os.P_PIDFD, process.sentinel, os.WEXITED | os.WNOWAIT)
child, registry = process._popen.child, waiting.registry()
entered, heard = threading.Event(), []
for name in ("poll", "poll_unless_busy"):
    setattr(child, name, lambda call=getattr(child, name): (entered.set(), call())[1])
with child._lock:  # this thread was about to reap it
    thread = threading.Thread(target=lambda: heard.extend(orphanguard.wait([process])))
    thread.start()
    entered.wait()
    registry.sweep()  # the handler, in this thread
    # wait() returns nothing while the other thread sleeps in the epoll, else the child, which this thread may reap.
    assert registry.wait([process], 0.01) in ([], [process])
thread.join()
assert heard == [process] and process.exitcode == 0
"""
    python(program, strict=True, check=True)


STARTS = """
import collections, faulthandler, os, signal, time
import orphanguard
from orphanguard._core import arming

faulthandler.dump_traceback_later(40, exit=True)
context = orphanguard.get_context("fork")
live, ended = [], collections.Counter()

def child():
    os._exit(7 if arming.armed() >= 0 else 1)

def start(*_):
    process = context.Process(target=child)
    process.start()
    live.append(process)

def start_often(*_):
    start()
    signal.setitimer(signal.ITIMER_REAL, 0.0005)

signal.signal(signal.SIGALRM, start_often)
start_often()
end = time.monotonic() + 2
while time.monotonic() < end:
    start()
    while len(live) > 20:
        process = live.pop(0)
        process.join()
        ended[process.exitcode] += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
for process in live:
    process.join()
    ended[process.exitcode] += 1
assert set(ended) == {7}, ended
"""


def test_they_start_children_during_a_start() -> None:
    """A supervisor's handler of SIGCHLD starts another worker while the main thread starts one."""
    python(STARTS, strict=True, check=True)

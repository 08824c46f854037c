"""A signal handler raises in the middle of a start or a join, and no process, zombie or fd is left."""

from __future__ import annotations

import subprocess
import sys

import pytest

import orphanguard
from orphanguard._core import pidfds
from tests.support.witness import ACTOR, ACTORS, python

PROGRAM = """
import os, random, signal, sys, threading, time
import orphanguard
from multiprocessing import resource_tracker
class Interrupted(Exception): pass
def interrupt(*_): raise Interrupted
method, rounds, tree = sys.argv[1], int(sys.argv[2]), bool(sys.argv[3:])
context = orphanguard.get_context(method)
def pause(): signal.pause()
def state():
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        pids = children.read().split()
    # An interrupted fork server ends. The standard library reaps it when it needs another fork server.
    if method == "forkserver":
        pids = [pid for pid in pids if ") Z " not in open(f"/proc/{pid}/stat").read()]
    return len(os.listdir("/proc/self/fd")), len(pids)
resource_tracker.ensure_running()
process = context.Process(target=pause, tree=tree)
process.start(); process.kill(); process.join(); process.close()
took = 1.0
for _ in range(5):
    process = context.Process(target=pause, tree=tree)
    began = time.perf_counter()
    process.start(); took = min(took, time.perf_counter() - began)
    process.kill(); process.join(); process.close()
signal.signal(signal.SIGALRM, interrupt)
before = state()
interrupted = 0
dice = random.Random(method)
for _ in range(rounds):
    process = context.Process(target=pause, tree=tree)
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00001, 1.2 * took))
        process.start()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:
        interrupted += 1
    except (OSError, EOFError) as error:  # the interrupted call turns the exception into its own
        interrupted += 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interrupted:  # the timer has fired after another error
        pass
    if process.pid is not None:
        process.kill(); process.join(); process.close()
    process = None
deadline = time.monotonic() + 10
while (after := state())[1] > before[1] and time.monotonic() < deadline:
    time.sleep(0.01)
# An exception that arrives during a system call is raised at its return: what os.pipe() has just made is lost then,
# in any Python program.
lost = after[0] - before[0]
# There may be one process less: the last interrupted start has ended the fork server.
print(interrupted > 2, "no process left" if after[1] <= before[1] else f"left: {before} -> {after}", end="; ")
# After an interrupted start the next one may make a new fork server, with a dozen fds of the standard library.
allowed = interrupted if method == "forkserver" else max(8, interrupted // 3)
print("fds fine" if lost <= allowed else f"{lost} fds lost in {interrupted}")
"""

# Every so many bytecodes one is tried.
STRIDES = {
    "fork": 3,
    "fork tree": 11,
    "spawn": 5,
    "spawn tree": 11,
    "forkserver": 7,
    "forkserver tree": 23,
    "server": 151,
    "Popen": 3,
    "Popen tree": 11,
    "Popen preexec_fn": 3,
    "PreexecFn": 1,
    "asyncio": 7,
}


@pytest.mark.parametrize("what", STRIDES)
def test_at_each_bytecode(what: str) -> None:
    if what == "PreexecFn" and sys.version_info >= (3, 12):
        pytest.skip("Python 3.13 tells a trace function of no bytecodes there")
    command = [sys.executable, ACTORS / "interrupted.py", what, str(STRIDES[what])]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert result.stdout == "True []\n", result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("tree", [(), ("tree",)], ids=["", "tree"])
@pytest.mark.parametrize(("method", "rounds"), [("fork", 300), ("spawn", 60), ("forkserver", 100)])
def test_interrupted_anywhere(method: str, rounds: int, tree: tuple[str, ...]) -> None:
    result = python(PROGRAM, method, str(rounds), *tree, timeout=100)
    assert result.stdout == "True no process left; fds fine\n", result.stderr
    assert "Exception ignored" not in result.stderr


def test_interrupted_right_after_the_fork() -> None:
    """The exception loses the child's pid, which os.fork() returns. The child waits at its gate, and ends there."""
    program = f"""{ACTOR}
import ctypes, functools, orphanguard
from tests.support.starts import everything as state
class Interrupted(Exception): pass
def interrupt(*_): raise Interrupted
signal.signal(signal.SIGUSR1, interrupt)
context = orphanguard.get_context("fork")
process = context.Process(target=int)
process.start(); process.join(); process.close()
before = state()
# Raised by C, so that Python runs the handler when os.fork() has returned.
os.register_at_fork(after_in_parent=functools.partial(getattr(ctypes.CDLL(None), "raise"), int(signal.SIGUSR1)))
try:
    context.Process(target=signal.pause).start()
except Interrupted:
    print("interrupted;", "nothing left" if state() == before else f"left: {{before}} -> {{state()}}")
"""
    result = python(program)
    assert result.stdout == "interrupted; nothing left\n", result.stderr


@pytest.mark.parametrize("then", ["join", "another start"])
@pytest.mark.parametrize(("after", "timeout"), [("wait", None), ("reap", None), ("status", 1000), ("reap", 1000)])
def test_an_interrupted_join_is_made_good(
    after: str, timeout: float | None, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nothing_left` of conftest.py looks for the zombie and the fds."""
    context = orphanguard.get_context("fork")
    process = context.Process(target=int)
    process.start()
    call = getattr(pidfds, after)

    def interrupted(*args: object) -> None:
        call(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pidfds, after, interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.join(timeout)
    if then == "join":
        process.join()
        assert process.exitcode == 0
    else:
        other = context.Process(target=int)
        other.start()
        other.join()
        other.close()
    process.close()

"""Hooks of ``os.register_at_fork`` run on both sides of a start, before the parent knows the child or may end it."""

from __future__ import annotations

import pytest

from tests.support.witness import ACTOR, python

PRELUDE = (
    ACTOR
    + """
import ctypes, functools, orphanguard
from tests.support.starts import everything as state
context = orphanguard.get_context("fork")
first = context.Process(target=int)
first.start(); first.join(); first.close()
def start(target=functools.partial(os._exit, 7)):
    process = context.Process(target=target)
    before = state()
    try:
        process.start()
    except Exception as error:
        print(type(error).__name__, "nothing left" if state() == before else f"left: {before} -> {state()}")
    else:
        process.join()
        print("exit code", process.exitcode)
"""
)


def run(program: str) -> str:
    return python(PRELUDE + program, strict=True, check=True).stdout


@pytest.mark.parametrize("waits", ["parent", "child"])
def test_one_side_may_wait_for_the_other(waits: str) -> None:
    """The gate holds the child's own code until the parent has its pidfd. It must not hold the child's hooks."""
    tells = {"parent": "child", "child": "parent"}[waits]
    program = f"""
reader, writer = os.pipe()
os.register_at_fork(after_in_{waits}=lambda: os.read(reader, 1), after_in_{tells}=lambda: os.write(writer, b"."))
start()
"""
    assert run(program) == "exit code 7\n"


def test_the_child_ends_in_its_hook() -> None:
    assert run("os.register_at_fork(after_in_child=lambda: os._exit(5)); start()") == "exit code 5\n"


@pytest.mark.parametrize("reaped", ["signal.signal(signal.SIGCHLD, signal.SIG_IGN)", ""], ids=["unseen", "by a hook"])
def test_the_child_ends_in_its_hook_and_is_reaped(reaped: str) -> None:
    """The pid may be another process's before the parent has a pidfd. No other process is taken for the child, and the
    child's own code has not run."""
    program = f"""
{reaped}
def until_reaped():
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        pass
os.register_at_fork(after_in_child=lambda: os._exit(5), after_in_parent=until_reaped)
start(lambda: print("ran", flush=True))
"""
    assert run(program) in ("ProcessLookupError nothing left\n", "ChildProcessError nothing left\n")


def test_another_process_has_got_its_pid() -> None:
    """Simulated: the child is reaped, and os.fork() returns the pid of a child of another thread."""
    program = """
import threading
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
others = []
def other():
    others.append(os.fork())
    if not others[0]:
        signal.pause()
        return
    forked.set()
    done.wait()
forked, done = threading.Event(), threading.Event()
threading.Thread(target=other).start()
forked.wait()
fork = os.fork
def recycled():
    pid = fork()
    if not pid:
        os._exit(5)
    while os.path.exists(f"/proc/{pid}"):
        pass
    return others[0]
os.fork = recycled
start(lambda: print("ran", flush=True))
print("alive" if os.path.exists(f"/proc/{others[0]}/exe") else "ended")
os.kill(others[0], signal.SIGKILL)
done.set()
"""
    assert run(program) == "ChildProcessError nothing left\nalive\n"


def test_an_exception_between_the_fork_and_the_gate() -> None:
    """The child ends there, and does not run the code that comes after start() in its parent."""
    program = """
parent = os.getpid()
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGUSR1, interrupt)
# Raised by C, so that Python runs the handler when os.fork() has returned.
os.register_at_fork(after_in_child=functools.partial(getattr(ctypes.CDLL(None), "raise"), int(signal.SIGUSR1)))
try:
    start(lambda: print("ran", flush=True))
finally:
    if os.getpid() != parent:
        print("in its parent's code", flush=True)
"""
    assert run(program) == "exit code 1\n"

"""A start of a `Process` that fails raises OSError and leaves no process, zombie, fd or thread."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from types import ModuleType

import pytest

import orphanguard
from orphanguard._core import forking, lifelines
from tests.support.actor import run_in
from tests.support.kernel import injected, strace
from tests.support.starts import inventory, with_ever_more_fds
from tests.support.witness import ACTORS, METHODS, python

pytestmark = pytest.mark.starts_fork_server


def nothing() -> None:
    pass


@pytest.mark.parametrize("tree", [False, True], ids=["", "tree"])
@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("method", METHODS)
def test_out_of_fds_at_any_point(method: str, thread: str, tree: bool) -> None:
    """With one fd more at each try, the start fails at one step after the other, until it succeeds."""
    context = orphanguard.get_context(method)

    def run() -> None:
        # Starts the resource tracker and the fork server while there are fds.
        first = context.Process(target=nothing, tree=tree)
        first.start()
        first.join()
        first.close()
        failures, process = with_ever_more_fds(started)
        process.join()
        assert process.exitcode == 0
        process.close()
        assert failures > 2
        done.append(True)

    def started() -> orphanguard.Process:
        process = context.Process(target=nothing, tree=tree)
        try:
            process.start()
        except OSError:
            assert process.pid is None
            raise
        return process

    done: list[bool] = []
    run_in(thread, run)
    assert done


@pytest.mark.parametrize(("module", "failing"), [(lifelines, "open"), (forking, "arm_next_fork")])
def test_each_step_of_a_fork_start(monkeypatch: pytest.MonkeyPatch, module: ModuleType, failing: str) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENFILE, f"{failing}: {os.strerror(errno.ENFILE)}")

    process = orphanguard.get_context("fork").Process(target=nothing)
    before = inventory()
    monkeypatch.setattr(module, failing, fail)
    with pytest.raises(OSError, match=failing):
        process.start()
    assert inventory() == before


def test_no_room_in_the_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of a start fails. The child exists already, waits at its gate or runs, and is ended."""
    from orphanguard._core import waiting

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "epoll_ctl")

    for method in METHODS:
        process = orphanguard.get_context(method).Process(target=nothing)
        first = orphanguard.get_context(method).Process(target=nothing)
        first.start()
        first.join()
        before = inventory()
        with monkeypatch.context() as patched:
            patched.setattr(waiting.registry(), "add", fail)
            with pytest.raises(OSError, match="epoll_ctl"):
                process.start()
        assert inventory() == before


def test_fork_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    process = orphanguard.get_context("fork").Process(target=nothing)
    before = inventory()
    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(BlockingIOError):
        process.start()
    assert inventory() == before
    monkeypatch.undo()
    process.start()  # the failed start has used up nothing
    process.join()
    assert process.exitcode == 0


def test_an_at_fork_hook_that_forks() -> None:
    """The hook's child gets the lifeline that was meant for ours. So our child is ended, and the start is refused."""
    program = """
import os, signal, orphanguard
once = [True]
def hook():
    if once and once.pop():
        os._exit(0) if (pid := os.fork()) == 0 else None
context = orphanguard.get_context("fork")
os.register_at_fork(before=hook)
try:
    context.Process(target=print, args=("ran",)).start()
except orphanguard.GuardUnavailable as error:
    print("refused:", "at-fork hook" in str(error))
process = context.Process(target=signal.getsignal, args=(2,))
process.start()
process.join()
print("then", process.exitcode)
"""
    result = python(program, check=True)
    assert result.stdout.removeprefix("ran").endswith("refused: True\nthen 0\n")


@strace
@pytest.mark.parametrize(
    ("method", "calls"),
    [("fork", "clone:when=2"), ("spawn", "clone3"), ("fork", "clone,clone3"), ("spawn", "clone,clone3")],
)
def test_the_kernel_refuses_to_clone(method: str, calls: str) -> None:
    """It refuses the child, or the process that makes the tether, which is the first clone()."""
    program = ACTORS / "failing_start.py"
    command = [*injected(f"{calls}:error=EAGAIN"), sys.executable, program, method]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout == "BlockingIOError nothing left\n", result.stderr


def test_program_that_cannot_be_executed() -> None:
    """The error of spawn's execve() comes back to the parent, as subprocess would raise it."""
    from multiprocessing import spawn

    context = orphanguard.get_context("spawn")
    context.Process(target=nothing)
    executable = spawn.get_executable()
    process = context.Process(target=nothing)
    before = inventory()
    spawn.set_executable("/nonexistent/python")
    try:
        with pytest.raises(FileNotFoundError) as caught:
            process.start()
    finally:
        spawn.set_executable(executable)
    assert caught.value.filename == "/nonexistent/python"
    assert inventory() == before


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_arguments_that_cannot_be_pickled(method: str) -> None:
    context = orphanguard.get_context(method)
    first = context.Process(target=nothing)
    first.start()
    first.join()
    process = context.Process(target=lambda: None)
    before = inventory()
    with pytest.raises(Exception, match="pickle"):
        process.start()
    assert inventory() == before

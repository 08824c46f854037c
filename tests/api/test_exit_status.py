"""The exit status is the true one even if other code has reaped the child. If the status is lost, a warning says so."""

from __future__ import annotations

import os

import pytest

import orphanguard
from orphanguard._core import pidfds
from tests.support.kernel import keeps_status, kernel
from tests.support.witness import METHODS, python

pytestmark = pytest.mark.starts_fork_server


def exit_with(status: int) -> None:
    os._exit(status)


@keeps_status
@pytest.mark.parametrize("method", ("fork", "spawn"))
def test_a_stray_waitpid(method: str) -> None:
    process = orphanguard.get_context(method).Process(target=exit_with, args=(7,))
    process.start()
    assert os.waitpid(process.pid, 0)[0] == process.pid
    process.join()
    assert process.exitcode == 7


@keeps_status
@pytest.mark.parametrize("method", METHODS)
def test_sigchld_is_ignored(method: str) -> None:
    """The child and its pid are gone as soon as it ends. Only the gate keeps them until the parent has the pidfd."""
    program = f"""
import os, signal, sys
import orphanguard
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range({300 if method == "fork" else 20}):
    process = orphanguard.get_context({method!r}).Process(target=os._exit, args=(7,))
    process.start()
    process.join()
    assert process.exitcode == 7, process.exitcode
    process.close()
"""
    python(program, strict=True, check=True)


def test_the_kernel_is_about_to_reap(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SIGCHLD ignored, for a moment poll() says that the child is dead, waitid() says that there is none, and its
    status is not there yet. That happens once in some ten thousand times, so the test makes the moment last."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(7,))
    process.start()
    os.waitpid(process.pid, 0)
    ask, answers = pidfds._reaped_status, [pidfds._RUNNING] * 3
    monkeypatch.setattr(pidfds, "_reaped_status", lambda *args: answers.pop() if answers else ask(*args))
    process.join()
    assert process.exitcode == (7 if kernel() >= (6, 15) else 255)
    assert not answers


def test_the_status_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.15, where the kernel does not keep the status."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(0,))
    process.start()
    os.waitpid(process.pid, 0)
    monkeypatch.setattr(pidfds, "reaped_status", lambda *_: None)
    with pytest.warns(orphanguard.StatusLostWarning, match="taken by somebody else"):
        process.join()
    assert process.exitcode == 255


def test_it_is_not_asked_where_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(pidfds, "reaped_status", fail)
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 3


def test_fork_server_tells_where_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidfds, "reaped_status", lambda *_: None)
    for status in (0, 7):
        process = orphanguard.get_context("forkserver").Process(target=exit_with, args=(status,))
        process.start()
        process.join()
        assert process.exitcode == status


def test_signals_never_hit_a_recycled_pid() -> None:
    """After a stray reap the pid may be another process's. The pidfd never is."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(0,))
    process.start()
    os.waitpid(process.pid, 0)
    process.terminate()
    process.kill()
    process.join()
    assert process.exitcode in (0, 255)

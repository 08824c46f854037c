"""The exit status is the true one even if somebody else has reaped the child; if it is lost, it is said."""

from __future__ import annotations

import os

import pytest

import orphanguard
from orphanguard import _native
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
    """The child is gone, with its pid, as soon as it ends: even before pidfd_open, but for the gate."""
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
    """SIGCHLD ignored: dead for poll(), no child for waitid(), and the status is not there for a moment. Once in some
    ten thousand times; so the moment is made to last."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(7,))
    process.start()
    os.waitpid(process.pid, 0)
    ask, answers = _native._reaped_status, [_native.lib.OG_RUNNING] * 3
    monkeypatch.setattr(_native, "_reaped_status", lambda *args: answers.pop() if answers else ask(*args))
    process.join()
    assert process.exitcode == (7 if kernel() >= (6, 15) else 255)
    assert not answers


def test_the_status_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.15: simulated by a kernel that doesn't know."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(0,))
    process.start()
    os.waitpid(process.pid, 0)
    monkeypatch.setattr(_native, "pidfd_reaped_status", lambda *_: None)
    with pytest.warns(orphanguard.StatusLostWarning, match="taken by somebody else"):
        process.join()
    assert process.exitcode == 255


def test_it_is_not_asked_where_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(_native, "pidfd_reaped_status", fail)
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 3


def test_fork_server_tells_where_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "pidfd_reaped_status", lambda *_: None)
    for status in (0, 7):
        process = orphanguard.get_context("forkserver").Process(target=exit_with, args=(status,))
        process.start()
        process.join()
        assert process.exitcode == status


def test_signals_never_hit_a_recycled_pid() -> None:
    """After a stray reap the pid is anybody's; the pidfd is nobody's."""
    process = orphanguard.get_context("fork").Process(target=exit_with, args=(0,))
    process.start()
    os.waitpid(process.pid, 0)
    process.terminate()
    process.kill()
    process.join()
    assert process.exitcode in (0, 255)

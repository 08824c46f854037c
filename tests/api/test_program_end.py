"""The end of a program: its status, who may wait for it, signals, and what is given back."""

from __future__ import annotations

import os
import signal
import subprocess as standard
import sys
import threading
import time

import pytest

import orphanguard
from orphanguard import subprocess
from orphanguard._core import pidfds
from tests.support.fdtable import open_fds
from tests.support.kernel import keeps_status
from tests.support.proc import wait_for


@keeps_status
@pytest.mark.parametrize("keywords", [{}, {"preexec_fn": os.getpid}, {"guard": False}], ids=str)
def test_a_stray_waitpid(keywords: dict[str, object]) -> None:
    process = subprocess.Popen("exit 7", shell=True, **keywords)
    assert os.waitpid(-1, 0)[0] == process.pid
    assert process.wait() == 7


@keeps_status
@pytest.mark.parametrize("keywords", ["", "guard=False", "user=os.geteuid()", "preexec_fn=os.getpid"])
def test_sigchld_is_ignored(keywords: str) -> None:
    """The program and its pid are gone as soon as it ends. Where the standard library forks, that may be before the
    parent has the pidfd; then the status is lost, and a warning says so."""
    program = f"""
import os, signal, sys, warnings
from orphanguard import subprocess, StatusLostWarning
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
forked = "preexec" in {keywords!r}
if forked:
    warnings.simplefilter("ignore", StatusLostWarning)
for _ in range(20):
    assert subprocess.call(["sh", "-c", "exit 7"], {keywords}) in ((7, 255) if forked else (7,))
    try:
        subprocess.call(["/nonexistent"], {keywords})
    except FileNotFoundError:
        continue
    raise AssertionError
"""
    standard.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=55)


def test_the_status_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.15, where the kernel does not keep the status."""
    monkeypatch.setattr(pidfds, "reaped_status", lambda *_: None)
    for look in (lambda p: p.wait(), lambda p: p.wait(1000), lambda p: p.poll(), lambda p: p.communicate()):
        process = subprocess.Popen(["true"])
        os.waitpid(process.pid, 0)
        with pytest.warns(orphanguard.StatusLostWarning, match="taken by somebody else"):
            look(process)
        assert process.returncode == 255


@pytest.mark.parametrize("status", [0, 3])
def test_many_threads_wait_for_one(status: int) -> None:
    process = subprocess.Popen(["sh", "-c", f"read x; exit {status}"], stdin=standard.PIPE)
    heard: list[int | None] = []

    def poll() -> None:
        wait_for(lambda: process.poll() is not None)

    def hear(wait) -> None:
        wait()
        heard.append(process.returncode)

    waits = [process.wait, lambda: process.wait(1000), poll] * 4
    threads = [threading.Thread(target=hear, args=(wait,)) for wait in waits]
    for thread in threads:
        thread.start()
    process.stdin.close()
    for thread in threads:
        thread.join()
    assert heard == [status] * 12


def test_a_wait_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """wait() sleeps in poll(pidfd). Before Python 3.15 the standard library looks up to 20 times a second."""

    def fail(*_: object) -> None:
        raise AssertionError

    with subprocess.Popen(["cat"], stdin=standard.PIPE) as process, monkeypatch.context() as patched:
        patched.setattr(time, "sleep", fail)
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.wait(0.05)
        assert caught.value.timeout == 0.05
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        threading.Timer(0.1, process.stdin.close).start()
        assert process.wait(1000) == 0


def test_signals_never_hit_a_recycled_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stray reap the pid may be another process's. The pidfd never is."""
    process = subprocess.Popen(["true"])
    os.waitpid(process.pid, 0)
    bystander = standard.Popen(["sleep", "1000"])
    process.pid = bystander.pid
    monkeypatch.setattr(os, "kill", None)
    process._child.returncode = None
    for _ in range(2):
        process.terminate()
        process.kill()
        process.send_signal(signal.SIGKILL)
    monkeypatch.undo()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    process.wait()


def test_fds_of_a_program() -> None:
    """A program has one fd, and none when it has been reaped."""
    before = set(open_fds())
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(10)]
    assert set(open_fds()) - before == {process._child.pidfd for process in processes}
    for process in processes:
        process.kill()
        process.wait()
    assert set(open_fds()) == before


def test_what_it_tells_of_itself() -> None:
    with subprocess.Popen(["cat"], stdin=standard.PIPE) as process:
        assert process.guard is not None
        assert process.guard.layers == ("lifeline", "pdeathsig")
        assert repr(process) == "<Popen: returncode: None args: ['cat'] guarded>"
    with subprocess.Popen(["true"], death_signal=signal.SIGTERM) as process:
        assert process.guard is not None
        assert (process.guard.layers, process.guard.signal) == (("lifeline",), signal.SIGTERM)
    with subprocess.Popen(["true"], guard=False) as process:
        assert process.guard is None

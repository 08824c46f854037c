"""Where the kernel can't keep the promise, nothing is started: `GuardUnavailable` names what is missing and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard

ACTOR = Path(__file__).parent / "actors" / "filtered.py"


def start(method: str, thread: str, call: str, error: str, when: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, ACTOR, method, thread, call, error, when],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize(
    ("method", "call", "named"),
    [
        ("fork", "pidfd_open", "pidfd_open"),
        ("fork", "prctl", "prctl(PR_SET_PDEATHSIG)"),
        ("fork", "fcntl", "fcntl(F_SETSIG)"),
        ("fork", "setown", "fcntl(F_SETOWN)"),
        ("spawn", "prctl", "prctl(PR_SET_PDEATHSIG)"),
        ("spawn", "fcntl", "fcntl(F_SETSIG)"),
        ("spawn", "clone", "clone"),
        ("Popen()", "prctl", "prctl(PR_SET_PDEATHSIG)"),
        ("Popen()", "fcntl", "fcntl(F_SETSIG)"),
        ("Popen()", "setown", "fcntl(F_SETOWN)"),
        ("Popen()", "clone", "clone"),
        ("Popen(user=os.geteuid())", "prctl", "prctl(PR_SET_PDEATHSIG)"),
        ("Popen(preexec_fn=os.getpid)", "prctl", "prctl(PR_SET_PDEATHSIG)"),
        ("Popen(preexec_fn=os.getpid)", "setown", "fcntl(F_SETOWN)"),
        ("forkserver", "pidfd_open", "pidfd_open"),
        ("forkserver", "fcntl", "fcntl(F_SETSIG)"),
    ],
)
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_refused(method: str, call: str, named: str, error: str, when: str) -> None:
    told, left = start(method, "main", call, error, when)[-2:]
    assert told.startswith(f"GuardUnavailable {error} [Errno ")
    assert f"{named}: " in told
    assert "seccomp" in told
    assert "could outlive its parent" in told
    if method == "forkserver" and when == "before":
        return  # the server has been started, and stays, as after any start
    assert left == "nothing left"


PROGRAMS = ["Popen()", "Popen(preexec_fn=os.getpid)", "Popen(user=os.geteuid())"]


@pytest.mark.parametrize("method", ["fork", "spawn", *PROGRAMS])
def test_in_another_thread_pdeathsig_is_not_needed(method: str) -> None:
    """It would not be armed there; the lifeline keeps the promise alone."""
    assert start(method, "other", "prctl", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


@pytest.mark.parametrize("how", PROGRAMS)
def test_pdeathsig_is_not_needed_for_another_signal(how: str) -> None:
    how = how[:-1] + ", death_signal=15)" if how != "Popen()" else "Popen(death_signal=15)"
    assert start(how, "main", "prctl", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


@pytest.mark.parametrize("guard", [True, False])
def test_a_program_that_gets_no_pidfd_is_taken_back(guard: bool) -> None:
    """Only a hook of the user's makes it come after the start."""
    told, left = start(f"Popen(preexec_fn=os.getpid, guard={guard})", "main", "pidfd_open", "EPERM", "before")[-2:]
    assert told.startswith("GuardUnavailable EPERM [Errno 1] pidfd_open: ")
    assert left == "nothing left"


@pytest.mark.parametrize("method", ["spawn", *PROGRAMS])
def test_without_close_range(method: str) -> None:
    """Old seccomp profiles refuse it; then the fds are closed one by one."""
    assert start(method, "main", "close_range", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


def test_it_is_an_oserror() -> None:
    assert issubclass(orphanguard.GuardUnavailable, OSError)


def test_a_child_that_cannot_arm_itself_does_not_run() -> None:
    """What was allowed in the rehearsal and is refused in the child: it ends, and says why, before it runs."""
    program = """
import os, orphanguard
from orphanguard import _native
process = orphanguard.get_context("fork").Process(target=print, args=("the child ran",))
open_lifeline = _native.lifeline_open
def broken(held, pdeathsig):
    fd = open_lifeline(held, pdeathsig=pdeathsig)
    os.dup2(os.open("/", os.O_RDONLY), fd)  # nothing that can be armed: F_SETOWN works, poll does not hang up
    os.close(fd)
    return fd
_native.lifeline_open = broken
try:
    process.start()
except OSError as error:
    print("raised", error)
process.join()
print("exit code", process.exitcode)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "the child ran" not in result.stdout
    assert "exit code 127" in result.stdout
    assert "could not be tied to its parent" in result.stderr

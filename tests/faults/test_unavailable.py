"""Where the kernel can't keep the promise nothing is started. `GuardUnavailable` says what is missing, and why."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

import orphanguard
from tests.support.kernel import PROGRAMS, SOCKETS
from tests.support.witness import ACTORS, python

ACTOR = ACTORS / "filtered.py"


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
        return  # the fork server has started, and stays as after any start
    assert left == "nothing left"


TREES = [
    *("fork(tree=True)", "spawn(tree=True)", "forkserver(tree=True)"),
    *("Popen(tree=True)", "Popen(tree='pidns')", "Popen(tree=True, preexec_fn=os.getpid)", "Popen(tree=True, user=0)"),
]


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("call", ["prctl", "fcntl", "setown", "pidfd_open", "clone", "close_range"])
@pytest.mark.parametrize("method", TREES)
def test_a_tree_runs_or_is_refused(method: str, call: str, thread: str, needs_root_for) -> None:
    """Whichever single call is refused, no tree looks started and is dead."""
    needs_root_for("user=" in method, "only root can start a program as somebody else")
    *ran, told, left = start(method, thread, call, "EPERM", "before")
    if told == "started, exit code 0":
        assert "the child ran" in ran
        return
    assert told.startswith(("GuardUnavailable EPERM ", "PermissionError "))  # PermissionError comes from os.fork()
    assert ran == []
    if not method.startswith("forkserver"):  # the fork server has started, and stays
        assert left == "nothing left"


@pytest.mark.parametrize("method", ["fork", "spawn", *PROGRAMS])
def test_in_another_thread_pdeathsig_is_not_needed(method: str) -> None:
    """A child of another thread arms no PDEATHSIG: the lifeline alone keeps the promise."""
    assert start(method, "other", "prctl", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


@pytest.mark.parametrize("how", PROGRAMS)
def test_pdeathsig_is_not_needed_for_another_signal(how: str) -> None:
    how = how[:-1] + ", death_signal=15)" if how != "Popen()" else "Popen(death_signal=15)"
    assert start(how, "main", "prctl", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


@pytest.mark.parametrize("guard", [True, False])
def test_a_program_that_gets_no_pidfd_is_taken_back(guard: bool) -> None:
    """With a hook of the user's the pidfd is opened after the start. Without one it comes with the start."""
    told, left = start(f"Popen(preexec_fn=os.getpid, guard={guard})", "main", "pidfd_open", "EPERM", "before")[-2:]
    assert told.startswith("GuardUnavailable EPERM [Errno 1] pidfd_open: ")
    assert left == "nothing left"


@pytest.mark.parametrize("method", ["spawn", *PROGRAMS])
def test_without_close_range(method: str) -> None:
    """Old seccomp profiles refuse close_range. Then the fds are closed one by one."""
    assert start(method, "main", "close_range", "EPERM", "before")[:2] == ["the child ran", "started, exit code 0"]


@pytest.mark.parametrize("when", ["twice", "between"])
@pytest.mark.parametrize("call", SOCKETS)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver", *PROGRAMS, "Popen(death_signal=15)", *TREES])
def test_without_sockets(method: str, call: str, when: str, needs_root_for) -> None:
    """No start fails: a child can be flat, without a tether."""
    needs_root_for("user=0" in method, "only root can start a program as somebody else")
    if method.startswith("forkserver") and call in ("sendmsg", "recvmsg"):
        pytest.skip("the standard library's fork server is sent fds as well")
    *ran, told, left = start(method, "other", call, "EPERM", when)
    assert "the child ran" in ran
    assert told == "started, exit code 0"
    assert left == "nothing left"


def test_it_is_an_oserror() -> None:
    assert issubclass(orphanguard.GuardUnavailable, OSError)


def test_a_child_that_cannot_arm_itself_does_not_run() -> None:
    """The parent's rehearsal succeeds, and the child fails. The child says why, and ends before it runs."""
    program = """
import os, orphanguard
from orphanguard._core import lifelines
process = orphanguard.get_context("fork").Process(target=print, args=("the child ran",))
open_lifeline = lifelines.open
def broken(held, pdeathsig):
    open_lifeline(held, pdeathsig=pdeathsig)
    # This fd is no lifeline: F_SETOWN works, and poll() never says that the parent is gone.
    os.dup2(os.open("/", os.O_RDONLY), held.lifeline)
    os.close(held.lifeline)
lifelines.open = broken
try:
    process.start()
except OSError as error:
    print("raised", error)
process.join()
print("exit code", process.exitcode)
"""
    result = python(program)
    assert "the child ran" not in result.stdout
    assert "exit code 127" in result.stdout
    assert "could not be tied to its parent" in result.stderr


# --- the programs of this package

STARTS = {
    "Popen": "orphanguard.Popen(['true'], tree=True)",
    "preexec_fn": "orphanguard.Popen(['true'], tree=True, preexec_fn=os.getpid)",
    "asyncio": "asyncio.run(orphanguard.create_subprocess_exec('true', tree=True))",
    "fork": "orphanguard.get_context('fork').Process(tree=True).start()",
    "spawn": "orphanguard.get_context('spawn').Process(tree=True).start()",
}


def without_programs(statement: str) -> subprocess.CompletedProcess[str]:
    program = f"""
import asyncio, os, orphanguard, sys
from orphanguard import _bin
_bin.RUN = _bin.LAUNCH = "/nonexistent/program"
{statement}
"""
    return python(program)


@pytest.mark.parametrize("how", STARTS)
def test_a_supervisor_that_is_not_there_is_named(how: str) -> None:
    """The message names the supervisor, and not the program that was to run under it."""
    error = without_programs(STARTS[how]).stderr.splitlines()[-1]
    assert error.startswith("orphanguard.GuardUnavailable: [Errno 2] /nonexistent/program: No such file")
    assert "nothing was started" in error


@pytest.mark.parametrize("options", [{}, {"preexec_fn": os.getpid}], ids=["", "preexec_fn"])
def test_arguments_that_are_too_long_are_the_users(options: dict) -> None:
    with pytest.raises(OSError, match="too long: 'echo'") as caught:
        orphanguard.Popen(["echo", "x" * 2**18], tree=True, **options)
    assert caught.value.errno == errno.E2BIG
    assert not isinstance(caught.value, orphanguard.GuardUnavailable)


def test_the_command_line_names_it() -> None:
    done = without_programs("from orphanguard.__main__ import main; sys.exit(main(['run', 'true']))")
    assert done.returncode == 125
    assert done.stderr.startswith("orphanguard: [Errno 2] /nonexistent/program: No such file")


def test_doctor_names_it() -> None:
    done = without_programs("from orphanguard.__main__ import main; sys.exit(main(['doctor']))")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = [line for line in done.stdout.splitlines() if line.startswith("tree=subreaper")]
    assert "/nonexistent/program: No such file" in line


def test_without_the_launcher_the_memory_is_copied(needs_root_for) -> None:
    needs_root_for(True, "only root can start a program as somebody else")
    done = without_programs("print(orphanguard.check_output(['id', '-u'], user=65534, text=True))")
    assert (done.stdout, done.stderr) == ("65534\n\n", "")

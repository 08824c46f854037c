"""`die_with_parent`: foreign children, which other code starts, arm themselves and die with their parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import Watched, parent, python


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("kind", ["fork", "executor", "pool"])
def test_die_with_parent_in_forked_children(kind: str, thread: str) -> None:
    """Forked children of plain multiprocessing arm themselves by a lifeline, so the forking thread may end."""
    with parent("dying", kind, thread, "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert set(answer["layers"]) == {"lifeline", *(["pdeathsig"] if thread == "main" else [])}
        assert answer["scope"] == "process"
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("kind", ["spawn", "script"])
def test_die_with_parent_after_an_exec(kind: str, capfd) -> None:
    """/proc tells the child that the main thread has started it. The end of that thread is the end of the parent."""
    with parent("dying", kind, "main", "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert answer["layers"] == ["pdeathsig"]
        assert answer["scope"] == "process"
        running.kill()
        assert children.alive(within=DEATH) == []
    assert "RuntimeWarning" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["spawn", "script"])
def test_a_guard_that_follows_a_thread_says_so(kind: str, capfd) -> None:
    """initializer= ignores what die_with_parent() returns. So a warning says that the guard is weak."""
    with parent("dying", kind, "running", "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert (answer["layers"], answer["scope"]) == (["pdeathsig"], "thread")
        running.kill()
        assert children.alive(within=DEATH) == []
    assert "RuntimeWarning: die_with_parent(): this process was started by a thread" in capfd.readouterr().err


def test_importing_orphanguard_is_use_enough() -> None:
    """The import prepares later forks: their children arm themselves by a lifeline, which a change of uid does not
    undo."""
    program = """
import os, orphanguard, signal
if os.fork() == 0:
    print(os.getpid(), *orphanguard.die_with_parent().layers, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running:
        pid, *layers = running.stdout.readline().split()
        assert layers == ["lifeline", "pdeathsig"]
        watched = Watched([int(pid)])
        running.kill()
        assert watched.alive(within=DEATH) == []
        watched.close()


@pytest.mark.parametrize("kind", ["script", "fork"])
def test_die_with_parent_in_another_thread_of_the_child(kind: str) -> None:
    """PDEATHSIG ends with the thread that armed it. So in another thread PDEATHSIG alone is refused."""
    with parent("dying", kind, "main", "lambda: in_a_thread(orphanguard.die_with_parent)") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        if kind == "script":
            assert answer["raised"].startswith("GuardUnavailable: ")
            assert "main thread" in answer["raised"]
            assert answer["layers"] == []
            return
        assert answer["returned"] == answer["layers"] == ["lifeline"]
        running.kill()
        assert children.alive(within=DEATH) == []


def test_pdeathsig_of_another_thread_ends_with_it() -> None:
    """The control: the child lives on. And no thread reports a PDEATHSIG that another thread has armed."""
    with parent("dying", "script", "main", "lambda: in_a_thread(arm_pdeathsig)") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert answer["seen"] == {"pdeathsig": 9, "layers": []}
        assert answer["layers"] == []
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


def test_another_thread_does_not_report_what_it_cannot_read() -> None:
    with parent("dying", "script", "main", "lambda: (arm_pdeathsig(), in_a_thread(look))") as running:
        answer = running.read()
        running.watch(answer["children"])
        assert answer["layers"] == ["pdeathsig"]
        assert answer["seen"] == {"pdeathsig": 0, "layers": []}


@pytest.mark.parametrize("kind", ["fork", "spawn", "script"])
def test_without_die_with_parent(kind: str) -> None:
    with parent("dying", kind, "main", "nothing") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("call", ["die_with_parent(parent_pid={gone})", "die_with_parent(15, {gone})"])
def test_the_parent_was_gone_before(call: str) -> None:
    """A shell starts the program in the background and ends at once; parent_pid= tells that the shell is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    program = f"import orphanguard, signal; orphanguard.{call.format(gone=gone.pid)}; signal.pause()"
    result = python(program)
    assert result.returncode == (-15 if "15" in call else -9)


def test_other_signals() -> None:
    with parent("dying", "fork", "main", "lambda: orphanguard.die_with_parent(signal.SIGUSR1)") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


def test_the_parent_is_a_zombie() -> None:
    gone = subprocess.Popen(["true"])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    program = f"import orphanguard, signal; orphanguard.die_with_parent(parent_pid={gone.pid}); signal.pause()"
    result = python(program)
    gone.wait()
    assert result.returncode == -9

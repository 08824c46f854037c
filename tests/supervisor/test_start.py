"""How a program starts the supervisor: on a lifeline, and above a child that runs already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from orphanguard._core import lifelines
from tests.support.proc import DEATH, LIFE, state, wait_for
from tests.support.trees import RUN
from tests.support.witness import ACTOR, Watched, marked

PARENT = (
    ACTOR
    + """
from orphanguard._core import lifelines, spawning
from orphanguard._bin import RUN
kept = []
def start():
    held, gives_back = lifelines.held()
    lifelines.open(held, pdeathsig=True)
    lifeline = held.lifeline
    arguments = [RUN, f"--lifeline-fd={lifeline}", f"--parent-pid={os.getpid()}", "sh", "-c", sys.argv[2]]
    arguments = [os.fsencode(each) for each in arguments]
    spawning.spawn(spawning.request(held), [os.fsencode(RUN)], arguments, keep_fds=[lifeline])
    print(held.pid, flush=True)
    kept.append((held, gives_back))
run_in(sys.argv[1], start)
sys.stdin.read()
"""
)


@pytest.mark.parametrize("stopped", [False, True], ids=["", "stopped"])
@pytest.mark.parametrize("thread", ["main", "ended"])
def test_on_a_lifeline(thread: str, stopped: bool) -> None:
    """Whichever thread starts the supervisor. And a stopped supervisor wakes when the parent dies."""
    command = [sys.executable, "-c", PARENT, thread, "setsid sleep 1000 & sleep 1000; :"]
    with marked(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as (parent, token):
        supervisor = int(parent.stdout.readline())
        wait_for(lambda: len(token.holders()) == 5)
        if stopped:
            os.kill(supervisor, signal.SIGSTOP)
            wait_for(lambda: state(supervisor) == "T")
        watched = Watched(set(token.holders()) - {parent.pid})
        assert len(watched.alive(within=LIFE)) == 4
        parent.kill()
        assert watched.alive(within=DEATH) == []
        watched.close(kill=False)


def test_a_lifeline_of_somebody_elses() -> None:
    held, _gives_back = lifelines.held()
    lifelines.open(held, pdeathsig=False)
    arguments = [RUN, f"--lifeline-fd={held.lifeline}", "echo", "it ran"]
    done = subprocess.run(arguments, pass_fds=[held.lifeline], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")


def above(child, *options: str) -> int:
    """Forks a process that forks ``child`` and becomes its supervisor. Returns the pid of that process."""
    pid = os.fork()
    if pid:
        return pid
    try:
        worker = os.fork()
        if worker == 0:
            child()
        os.execv(RUN, [RUN, *options, f"--child-pid={worker}"])
    finally:
        os._exit(99)


@pytest.mark.parametrize("end", [5, -9])
def test_above_a_child_that_runs_already(end: int) -> None:
    read, write = os.pipe()
    status, status_w = os.pipe()
    go, go_w = os.pipe()
    os.set_inheritable(status_w, True)

    def child() -> None:
        grandchild = os.fork()
        if grandchild == 0:
            os.setsid()
            time.sleep(1000)
        os.write(write, grandchild.to_bytes(4, "little"))
        os.read(go, 1)
        if end < 0:
            os.kill(os.getpid(), -end)
        os._exit(end)

    pid = above(child, f"--status-fd={status_w}")
    watched = Watched([int.from_bytes(os.read(read, 4), "little")])
    # The exec comes first, and then the supervisor becomes a subreaper. It would not adopt what a child leaves in
    # between.
    assert b"started" in os.read(status, 4096)
    os.write(go_w, b"g")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == end
    assert watched.alive(within=DEATH) == []
    watched.close(kill=False)
    for fd in (read, write, status, status_w, go, go_w):
        os.close(fd)


def test_a_child_that_runs_already_dies_with_its_supervisor() -> None:
    read, write = os.pipe()

    def child() -> None:
        os.write(write, os.getpid().to_bytes(4, "little"))
        time.sleep(1000)

    pid = above(child)
    watched = Watched([int.from_bytes(os.read(read, 4), "little")])
    wait_for(lambda: os.readlink(f"/proc/{pid}/exe") == RUN)
    wait_for(lambda: state(pid) == "S")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert watched.alive(within=DEATH) == []
    watched.close(kill=False)
    os.close(read)
    os.close(write)

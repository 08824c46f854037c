"""No `Process` dies while its parent lives: siblings end, starts fail, handles are dropped, the parent is stopped."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import time

import pytest

import orphanguard
from orphanguard._stdlib import multiprocessing as _stdlib
from tests.support.proc import DEATH, LIFE
from tests.support.witness import METHODS, THREADS, family


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("method", METHODS)
def test_no_child_dies_when_the_parent_lives(method: str, thread: str) -> None:
    """A sibling dies and the forking thread ends: both are nobody else's end."""
    with family(method, thread, count=3) as (parent, children):
        parent.tell("processes[0].kill(); processes[0].join(); say(exitcode=processes[0].exitcode)")
        assert parent.read() == {"exitcode": -9}
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


def test_stopped_parent_keeps_its_children() -> None:
    with family("fork") as (parent, children):
        parent.kill(signal.SIGSTOP)
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


pytestmark = pytest.mark.starts_fork_server


def pause() -> None:
    signal.pause()


@pytest.fixture(params=METHODS)
def context(request):
    return orphanguard.get_context(request.param)


def test_a_dropped_handle_is_no_death(context) -> None:
    """The garbage collection of a handle ends neither the child nor its lifeline."""
    pidfd = os.pidfd_open(start_and_forget(context))
    poller = select.poll()
    poller.register(pidfd)
    assert poller.poll(200) == []
    [process] = multiprocessing.active_children()
    process.kill()
    process.join()
    os.close(pidfd)


def start_and_forget(context) -> int:
    process = context.Process(target=pause)
    process.start()
    return process.pid


@pytest.mark.parametrize("method", ("fork", "spawn"))
def test_an_early_exception_is_nobody_elses_end(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails before there is a process takes nothing back: least of all the child of the start before."""
    context = orphanguard.get_context(method)
    sibling = context.Process(target=time.sleep, args=(1000,))
    sibling.start()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_stdlib, f"launch_{method}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.Process(target=int).start()
    assert sibling.is_alive()
    sibling.kill()
    sibling.join()
    assert sibling.exitcode == -9
    sibling.close()

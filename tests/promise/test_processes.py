"""No `Process` outlives its parent, however the parent ends and whichever thread started the child."""

from __future__ import annotations

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import ENDS, METHODS, THREADS, end, family


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("method", METHODS)
def test_no_child_survives(method: str, thread: str, how: str) -> None:
    with family(method, thread) as (parent, children):
        end(parent, ENDS[how])
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("method", METHODS)
def test_unguarded_children_survive(method: str, how: str) -> None:
    """The negative control: without orphanguard the same scenario orphans, or the tests above prove nothing."""
    with family(method, guarded=False) as (parent, children):
        end(parent, ENDS[how])
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("thread", THREADS)
@pytest.mark.parametrize("method", METHODS)
def test_unhandled_exception(method: str, thread: str) -> None:
    """With daemonic children: the interpreter would join others first. (It ends daemonic ones unguarded too.)"""
    with family(method, thread, extra=("--daemon",)) as (parent, children):
        parent.tell("raise KeyError('unhandled, on purpose')")
        assert parent.ended() == 1
        assert children.alive(within=DEATH) == []


MISBEHAVIOURS = ("busy", "block_signals", "ignore_signals", "stop", "drop_uid", "close_fds", "new_session")


@pytest.mark.parametrize("child", MISBEHAVIOURS)
@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_child_does(method: str, thread: str, child: str, needs_root_for) -> None:
    needs_root_for(child == "drop_uid", "only root can change its uid")
    with family(method, thread, child=child) as (parent, children):
        if child in ("stop", "drop_uid", "close_fds", "block_signals"):
            # The child says that it is up before it does this. Now it has done it.
            assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("child", MISBEHAVIOURS)
def test_whatever_the_child_does_unguarded(child: str, needs_root_for) -> None:
    needs_root_for(child == "drop_uid", "only root can change its uid")
    with family("fork", guarded=False, child=child) as (parent, children):
        parent.kill()
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_of_three(method: str) -> None:
    with family(method, count=1, child="start_another", extra=("--expect", "2")) as (parent, children):
        assert len(children.fds) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


def test_a_chain_of_three_unguarded() -> None:
    with family("fork", guarded=False, count=1, child="start_another", extra=("--expect", "2")) as (parent, children):
        parent.kill()
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_middle_of_a_chain_dies(method: str) -> None:
    """The grandchild dies with its parent, which is the child. The first parent lives on."""
    with family(method, count=1, child="start_another", extra=("--expect", "2")) as (parent, children):
        parent.tell("processes[0].kill()")
        assert children.alive(within=DEATH) == []
        assert parent.process.poll() is None


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_twenty_siblings(method: str, thread: str) -> None:
    """Forked siblings hold copies of each other's pipes. Three end one by one; then the parent dies, and all the
    rest."""
    with family(method, thread, count=20) as (parent, children):
        for victim in (0, 19, 7):
            parent.tell(f"processes[{victim}].kill(); processes[{victim}].join(); say(done=True)")
            parent.read()
        assert len(children.alive(within=LIFE)) == 17
        parent.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_large_parent_with_busy_threads(method: str, thread: str) -> None:
    """1 GiB takes the kernel a while to free, and threads die one by one: that is where races are."""
    with family(method, thread, extra=("--memory", "1024", "--busy", "2")) as (parent, children):
        parent.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("method", ("spawn", "forkserver"))
def test_megabytes_of_arguments(method: str) -> None:
    """The arguments travel through a pipe. If that pipe were the lifeline, each write would kill the child."""
    with family(method, count=2, extra=("--payload", "8192")) as (parent, children):
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []

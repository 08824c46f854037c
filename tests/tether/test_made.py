"""A holder clones the parent while a tether is made, and lets go of its copies later."""

from __future__ import annotations

import pytest

from tests.support.holders import TRIALS, held, survivors
from tests.support.kernel import injected, strace
from tests.support.proc import DEATH, LIFE

HOLD = 400_000  # microseconds
MAKER = {
    "its own pipe": "pipe2:delay_exit={}:when=1",
    "its first sockets": "socketpair:delay_exit={}:when=1",
    "its second sockets": "socketpair:delay_exit={}:when=2",
    "its last sockets": "socketpair:delay_exit={}:when=4",
    "nothing hangs in them": "sendmsg:delay_enter={}:when=1",
    "nothing hangs in the tether": "sendmsg:delay_enter={}:when=2",
    "the queue hangs in the socket around it": "sendmsg:delay_enter={}:when=3",
    "that socket hangs in another": "sendmsg:delay_enter={}:when=4",
    "the queue hangs in the tether": "sendmsg:delay_enter={}:when=5",
    "the write end too": "sendmsg:delay_enter={}:when=6",
    "all is sent": "sendmsg:delay_exit={}:when=6",
}


@strace
@pytest.mark.parametrize("way", ["ascending", "descending"])
@pytest.mark.parametrize("where", MAKER)
def test_a_clone_while_it_is_made(where: str, way: str) -> None:
    """The process that makes a tether has a table of fds of its own. So the clone of the parent has nothing that
    matters."""
    assert survivors("tether", "maker", way, holds=set(), wrapper=injected(MAKER[where].format(HOLD))) == []


@strace
@pytest.mark.parametrize("way", ["ascending", "descending"])
def test_a_clone_while_it_comes_to_the_parent(way: str) -> None:
    wrapper = injected(f"recvmsg:delay_enter={HOLD}:when=1")
    assert survivors("tether", "maker", way, "--moment=made", holds=set(), wrapper=wrapper) == []


def test_a_clone_while_it_is_made_in_the_parents_table() -> None:
    """The control: the clone has a copy of the bare write end, and closes it last."""
    assert "elder" in survivors("nest", "maker", "descending", holds={"elder", "younger"})


def test_clones_all_the_time() -> None:
    for _ in range(TRIALS):
        with held("tether", "many", "--kind=death_signal") as case:  # a tether for each
            assert len(case.programs.alive(within=LIFE)) == 21
            case.kill_parent()
            assert case.programs.alive(within=DEATH) == []
    print(f"tether, many: left of {TRIALS * 21}: 0")

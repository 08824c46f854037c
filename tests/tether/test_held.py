"""A holder has copies of all fds of the parent when the parent dies, and lets go of them later.

The parent has two programs: the elder is older than the copies, the younger is not. Both must live until the holder
lets go, and die then, in whatever order it closes the copies. TRIALS=20 in the environment repeats each test; the
numbers are printed (pytest -rP).
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.fdtable import tethers
from tests.support.holders import held, survivors
from tests.support.proc import DEATH, LIFE, wait_for

WAYS = ["exit", "kill", "exec", "close_range", "ascending", "descending"]
HOLDERS = [
    *(("raw", way) for way in WAYS),
    *(("unrun", way) for way in ("goes on", "kill", "close_range", "ascending")),
    ("process", "goes on"),
    ("process", "kill"),
]


@pytest.mark.parametrize(("holder", "way"), HOLDERS)
def test_both_die_when_it_lets_go(holder: str, way: str) -> None:
    assert survivors("tether", holder, way) == []


@pytest.mark.parametrize(("holder", "way"), [case for case in HOLDERS if case != ("unrun", "goes on")])
def test_the_younger_one_did_not_before(holder: str, way: str) -> None:
    """The control: the write end is in the parent's table of fds. The younger program's description has gone with the
    parent when the holder closes its copy of the write end; and if it closes the lowest first, so has the elder's."""
    both = {"younger", "elder"} if way == "ascending" else {"younger"}
    assert set(survivors("table", holder, way)) == both


@pytest.mark.parametrize(("way", "left"), [("ascending", {"elder"}), ("exit", set())])
def test_without_sockets(way: str, left: set[str]) -> None:
    """Flat: the younger program has a pipe of its own, which the holder lacks. The elder's read end has a lower number
    than the write end."""
    assert set(survivors("fallback", "raw", way, holds={"elder"})) == left


@pytest.mark.parametrize(("holder", "way"), HOLDERS)
def test_nobody_dies_when_it_lets_go_before(holder: str, way: str) -> None:
    with held("tether", holder) as case:
        case.order(way)
        if way in ("exit", "kill"):
            wait_for(lambda: not os.path.exists(f"/proc/{case.holder}/fd/0"))
        else:
            wait_for(lambda: not tethers(case.holder))
        assert len(case.programs.alive(within=LIFE)) == 2
        case.kill_parent()
        assert case.programs.alive(within=DEATH) == []


def test_a_stopped_holder_lets_go_late_but_not_early() -> None:
    """What remains: no program is lost, but both live until the holder goes on."""
    with held("tether", "raw") as case:
        os.kill(case.holder, signal.SIGSTOP)
        case.order("exit")
        case.kill_parent()
        assert len(case.programs.alive(within=LIFE)) == 2
        os.kill(case.holder, signal.SIGCONT)
        assert case.programs.alive(within=DEATH) == []


def test_a_clone_that_stays_keeps_all_alive() -> None:
    """What remains: C code that clones and executes nothing."""
    with held("tether", "raw") as case:
        case.kill_parent()
        assert len(case.programs.alive(within=LIFE)) == 2
        os.kill(case.holder, signal.SIGKILL)
        assert case.programs.alive(within=DEATH) == []


# What kind of child; which of the two live as long as the holder; which of them outlive it where there are no sockets.
KINDS = {
    "close_fds=False": ({"elder", "younger"}, {"elder"}),
    "preexec_fn": ({"elder", "younger"}, {"elder"}),
    "user": ({"elder", "younger"}, {"elder"}),
    "death_signal": ({"elder"}, {"elder"}),  # each has a tether of its own
    "tree": (set(), set()),  # the supervisor sees the parent's end by itself
    "PreexecFn": ({"elder", "younger"}, {"elder"}),
    "fork": ({"elder", "younger"}, {"elder"}),
    "spawn": ({"elder", "younger"}, {"elder"}),
    "forkserver": ({"elder", "younger"}, {"elder"}),
    "die_with_parent": ({"elder", "younger"}, {"elder", "younger"}),  # its description is in the child alone
}


@pytest.mark.parametrize("kind", KINDS)
def test_however_they_were_started(kind: str, needs_root_for) -> None:
    needs_root_for(kind == "user", "only root can start a program as somebody else")
    assert survivors("tether", "raw", "ascending", f"--kind={kind}", holds=KINDS[kind][0]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_however_they_were_started_without_sockets(kind: str, needs_root_for) -> None:
    needs_root_for(kind == "user", "only root can start a program as somebody else")
    holds, left = KINDS[kind]
    assert set(survivors("fallback", "raw", "ascending", f"--kind={kind}", holds=holds & {"elder"})) == left

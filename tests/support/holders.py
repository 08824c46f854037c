"""A parent with two programs, and a holder: a process that was forked between their starts, and has copies of its
fds."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from tests.support.fdtable import tethers
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.witness import Parent, parent

#: How often each case is tried. The numbers are printed: pytest -rP.
TRIALS = int(os.environ.get("TRIALS", "1"))
#: Seconds for which programs are watched that must live because a holder keeps them alive.
SHORT = 0.05
BOTH = frozenset({"elder", "younger"})


class Held:
    def __init__(self, running: Parent, orders: int) -> None:
        answer = running.read()
        *_, self.elder, self.younger = answer["programs"]
        self.group: int = answer["parent"]
        self.holder: int = answer["holder"] or 0
        self.programs = running.watch(answer["programs"])
        self.parent = running.watch([answer["parent"]])
        self.holders = running.watch([self.holder] if self.holder else [])
        self._orders = orders

    def order(self, way: str) -> None:
        os.write(self._orders, way.encode())

    def kill_parent(self) -> None:
        self.parent.kill()
        assert self.parent.alive(within=DEATH) == []

    def alive(self, within: float) -> set[str]:
        names = {self.elder: "elder", self.younger: "younger"}
        return {names[pid] for pid in self.programs.alive(within)}


def stopped(pid: int) -> bool:
    """Whether the process stays stopped. Under strace each system call is a short stop."""
    states = set()
    for _ in range(10):
        with open(f"/proc/{pid}/stat") as stat:
            states.add(stat.read().rpartition(")")[2].split()[0])
        time.sleep(0.005)
    return len(states) == 1 and states <= {"t", "T"}


@contextlib.contextmanager
def held(design: str, holder: str, *options: str, **how: Any) -> Iterator[Held]:
    """Runs actors/holding.py."""
    orders, orders_w = os.pipe()
    arguments = (design, holder, f"--orders={orders}", *options)
    try:
        with parent("holding", *arguments, pass_fds=[orders], **how) as running:
            yield Held(running, orders_w)
    finally:
        os.close(orders)
        os.close(orders_w)


def survivors(
    design: str, holder: str, way: str, *options: str, holds: AbstractSet[str] = BOTH, **how: Any
) -> list[str]:
    """Which programs outlive the parent, once for each trial in which they do.

    ``way``: how the holder lets go of its copies. "SIGCONT": strace has stopped the holder, and it goes on.
    ``holds``: the programs that must live as long as the holder.
    """
    found: list[str] = []
    for _ in range(TRIALS):
        with held(design, holder, *options, **how) as case:
            if design == "tether" and holds:
                assert tethers(case.holder), "it has no copy of the tether"
            case.kill_parent()
            assert case.alive(within=SHORT) >= holds
            if way == "SIGCONT":
                wait_for(lambda: stopped(case.holder))
                os.kill(case.holder, signal.SIGCONT)
            else:
                case.order(way)
            found += case.alive(within=DEATH if design == "tether" else LIFE)
    counts = ", ".join(f"{who} {found.count(who)}" for who in sorted(BOTH))
    said = [*options, *(word for word in how.get("wrapper", ()) if "error" in word)]
    print(f"{design}, {holder}, {way} {' '.join(said)}: left of {TRIALS}: {counts}")
    return found

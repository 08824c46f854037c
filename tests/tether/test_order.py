"""The order of release in the kernel, on which the tether relies: actors/designs.py, without orphanguard."""

from __future__ import annotations

import os

from tests.support.holders import TRIALS, held
from tests.support.proc import DEATH, LIFE

CHANGED = (
    f"Linux {os.uname().release} does not take the queues of sockets apart as those before it (5.10 to 7.3): "
    "csrc/shim/tether.c, 'The nest'"
)
TRIED = max(TRIALS, 3)


def left(design: str, within: float) -> list[set[str]]:
    found = []
    for _ in range(TRIED):
        with held(design, "nobody") as case:
            case.kill_parent()
            found.append(case.alive(within))
    print(f"{design}: left in {sum(map(bool, found))} of {TRIED}")
    return found


def test_what_hangs_one_level_deeper_is_released_later() -> None:
    assert left("nest", DEATH) == [set()] * TRIED, CHANGED


def test_what_hangs_in_one_queue_is_not() -> None:
    """The control. If it fails the tether still works, and needs less than one level of nesting."""
    assert left("flat nest", LIFE) == [{"elder", "younger"}] * TRIED, CHANGED


def test_what_is_in_the_table_goes_highest_first() -> None:
    """The design before the tether relied on this. It works while nobody holds a copy, so the table is a control
    elsewhere."""
    assert left("table", DEATH) == [set()] * TRIED, CHANGED

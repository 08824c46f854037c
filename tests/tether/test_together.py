"""The parent, which has 14,000 files open, and a fork of the parent are killed at the same moment.

Both drop all files at once. Each file is released by the process that drops it last, so in any order.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.holders import TRIALS, held
from tests.support.proc import DEATH, LIFE

FILES = "--files=14000"
ENOUGH = 40  # trials for the control: it succeeded in 11 of 40 where this was written


def survivors(design: str, holder: str) -> set[str]:
    with held(design, holder, FILES, start_new_session=True) as case:
        os.killpg(case.group, signal.SIGKILL)
        assert case.parent.alive(within=DEATH) == case.holders.alive(within=DEATH) == []
        return case.alive(within=DEATH if design == "tether" else LIFE)


@pytest.mark.usefixtures("many_fds")
@pytest.mark.parametrize("holder", ["raw", "helper"])
def test_both_die(holder: str) -> None:
    left = [survivors("tether", holder) for _ in range(max(TRIALS, 3))]
    print(f"tether, {holder}: left in {sum(map(bool, left))} of {len(left)}")
    assert not any(left)


@pytest.mark.usefixtures("many_fds")
def test_they_did_not_before() -> None:
    """The control: all is in the table of fds. Whether a program survives depends on the moment."""
    tries = 0
    if TRIALS > 1:
        print(f"table: left in {sum(bool(survivors('table', 'raw')) for _ in range(TRIALS))} of {TRIALS}")
    while not survivors("table", "raw"):
        tries += 1
        if tries == ENOUGH:
            pytest.skip(f"nobody outlived the parent in {ENOUGH} trials: it takes two processors that are free")

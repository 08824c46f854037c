"""Programs that a loop starts die with the parent: asyncio's loop and uvloop, in any thread."""

from __future__ import annotations

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import parent


def needs(loop: str) -> None:
    if loop != "asyncio":
        pytest.importorskip(loop)


# Not ("ended", "uvloop"): a loop of uvloop that ends closes its pipes, and then cat ends by itself.
@pytest.mark.parametrize(
    ("where", "loop"),
    [("main", "asyncio"), ("running", "asyncio"), ("ended", "asyncio"), ("main", "uvloop"), ("running", "uvloop")],
)
def test_programs_die_with_the_parent_and_not_before(where: str, loop: str) -> None:
    needs(loop)
    with parent("looping", where, "guarded", loop) as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 3
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_programs_survive_unguarded(loop: str) -> None:
    needs(loop)
    with parent("looping", "main", "plain", loop) as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) >= 2  # the third, cat, ends with its stdin

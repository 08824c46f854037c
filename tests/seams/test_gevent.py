"""Programs that gevent has patched, before or after our import: other greenlets run while one waits."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import ACTORS, parent

pytestmark = pytest.mark.parametrize("order", ["before", "after"])

ACTOR = str(ACTORS / "greenlets.py")


@pytest.fixture(autouse=True)
def needed(request: pytest.FixtureRequest) -> None:
    name = "eventlet" if "eventlet" in request.node.name else "gevent"
    if find_spec(name) is None:  # no import: eventlet's changes how this process forks
        pytest.skip(f"{name} is not installed")


def told(*arguments: str) -> list[dict[str, object]]:
    done = subprocess.run([sys.executable, ACTOR, *arguments], capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


OUT = {"tree": 3, "wait": 3, "wait with a timeout": 3, "preexec_fn": 3, "user": 3, "communicate": [200_000, "err\n"]}
OUT |= dict.fromkeys(("read", "run", "check_output"), "out\n")
OUT |= dict.fromkeys(("fork", "fork, tree", "spawn", "forkserver"), 0)
OUT |= {"orphanguard.wait": [0]}


def test_other_greenlets_run_meanwhile(order: str) -> None:
    """Another greenlet does what the first one waits for. If none could run, the first would wait for ever."""
    said = told(order, "cooperative")
    assert {name: value for line in said for name, value in line.items()} == OUT


def test_many_greenlets_wait_at_once(order: str) -> None:
    assert told(order, "crowd") == [{"codes": [*range(8)] * 3}]


def test_where_no_other_greenlet_runs(order: str) -> None:
    assert told(order, "alone") == [{"out": [""] * 12, "codes": [0, 0, 0]}]


def test_a_start_that_fails(order: str) -> None:
    assert told(order, "missing") == [{"said": ["/no/such/program"] * 3 + ["TimeoutExpired"]}]


def test_beside_gevents_own_programs(order: str) -> None:
    (said,) = told(order, "beside")
    lost = sum(code == 255 for codes in said["codes"] for code in codes)
    assert lost == said["lost"]
    assert all(code in (expected, 255) for codes in said["codes"] for code, expected in zip(codes, (7, 9), strict=True))


def test_children_die_with_the_parent_and_not_before(order: str) -> None:
    with parent("greenlets", order, "parent", "guarded") as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 8
        running.kill()
        assert children.alive(within=DEATH) == []


def test_gevents_own_programs_survive(order: str) -> None:
    with parent("greenlets", order, "parent", "plain") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


EVENTLET = """
import os, sys
if "after" in sys.argv:
    import orphanguard
    orphanguard.run(["true"])
    orphanguard.Process
import eventlet
eventlet.monkey_patch()
import orphanguard
starts = [
    lambda: orphanguard.Popen(["touch", sys.argv[2]]),
    lambda: orphanguard.run(["touch", sys.argv[2]], preexec_fn=os.getpid),
    lambda: orphanguard.run(["touch", sys.argv[2]], tree=True),
    lambda: orphanguard.get_context("fork").Process(target=os.mkdir, args=(sys.argv[2],)).start(),
    lambda: orphanguard.get_context("spawn").Process(target=os.mkdir, args=(sys.argv[2],)).start(),
]
for start in starts:
    try:
        start()
    except RuntimeError as error:
        print(error)
"""


def test_eventlet_is_refused_before_anything_is_started(order: str, tmp_path) -> None:
    run = [sys.executable, "-W", "ignore", "-c", EVENTLET, order, str(tmp_path / "started")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=40, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert set(lines) == {lines[0]}
    assert "a program that eventlet has monkey-patched" in lines[0]
    assert not (tmp_path / "started").exists()

"""A child that takes other uids, under a parent that may do so and is not global root.

The kernel sends a lifeline's signal with the credentials of the process that set the owner: sigio_perm() in fs/fcntl.c.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE
from tests.support.trees import public_run
from tests.support.witness import Watched, parent

pytestmark = as_root

WHERE = ("namespace", "capable")
UIDS = "the child takes other real and saved user ids by itself"


def environment() -> dict[str, str]:
    return {**os.environ, "ORPHANGUARD_TEST_RUN": public_run()}


@contextlib.contextmanager
def family(where: str, how: str, thread: str = "main") -> Iterator[tuple[dict, Watched]]:
    with parent("uids", where, how, thread, env=environment()) as running:
        answer = running.read()
        if "skip" in answer:
            pytest.skip(answer["skip"])
        if "error" in answer:
            yield answer, Watched([])
            return
        watched = running.watch([answer["pid"]])
        assert len(watched.alive(within=LIFE)) == 1
        running.kill()
        running.ended()
        yield answer, watched


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("how", ["program(user=TARGET)", "program(user=TARGET, group=TARGET)", "without_launcher()"])
@pytest.mark.parametrize("where", WHERE)
def test_user(where: str, how: str, thread: str) -> None:
    with family(where, how, thread) as (_, child):
        assert child.alive(within=DEATH) == []


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("where", WHERE)
def test_with_a_hook_of_the_users(where: str, thread: str) -> None:
    with family(where, "program(user=TARGET, preexec_fn=os.getpid)", thread) as (_, child):
        assert child.alive(within=DEATH) == []


def test_below_a_supervisor() -> None:
    with family("namespace", "program(user=TARGET, tree=True)", "ended") as (_, child):
        assert child.alive(within=DEATH) == []


def test_a_supervisor_that_may_not_kill_is_refused() -> None:
    with family("capable", "program(user=TARGET, tree=True)") as (answer, _):
        assert answer["error"].startswith("GuardUnavailable: [Errno 1] --uid=1: kill")


@pytest.mark.parametrize("how", ["process(again=True)", "forked(again=True)"])
@pytest.mark.parametrize("where", WHERE)
def test_armed_once_more_after_the_change(where: str, how: str) -> None:
    with family(where, how, "ended") as (answer, child):
        assert answer["said"] == "None ('lifeline',)"
        assert child.alive(within=DEATH) == []


def test_a_worker_below_a_supervisor_armed_once_more() -> None:
    with parent("uids", "namespace", "process(again=True, tree=True)", "main", env=environment()) as running:
        answer = running.read()
        if "skip" in answer:
            pytest.skip(answer["skip"])
        worker, supervisor = running.watch([answer["pid"]]), running.watch([answer["supervisor"]])
        assert len(worker.alive(within=LIFE)) == 1
        supervisor.kill()
        assert worker.alive(within=DEATH) == []


BY_ITSELF = ["process(again=False)", "forked(again=False)", "program(('setpriv', '--reuid=1', '--clear-groups'))"]


@pytest.mark.parametrize("how", BY_ITSELF)
@pytest.mark.parametrize("where", WHERE)
def test_by_itself_it_escapes_and_that_is_said(where: str, how: str) -> None:
    """Documented, not wanted: the child survives. This is the control of the tests above."""
    with family(where, how) as (answer, child):
        assert len(child.alive(within=LIFE)) == 1
        assert answer["doctor"] is answer["root"] is False
        if answer["said"] != "up":
            assert answer["said"] == "None None"
        if "forked" not in how:
            assert any(UIDS in reason for reason in answer["defeated_by"])


@pytest.mark.parametrize("how", BY_ITSELF)
def test_global_root_reaches_everybody(how: str) -> None:
    with family("root", how, "ended") as (answer, child):
        assert child.alive(within=DEATH) == []
        assert answer["doctor"] is answer["root"] is True
        if answer["said"] != "up":
            assert answer["said"] == "('lifeline',) ('lifeline',)"
        assert not any(UIDS in reason for reason in answer["defeated_by"])

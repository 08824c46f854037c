"""`preexec_fn` and `PreexecFn`: programs that plain subprocess and asyncio start die with their parent."""

from __future__ import annotations

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import parent


@pytest.mark.parametrize("hook", ["preexec_fn", "PreexecFn()"])
@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("options", ["", "close_fds=False", "start_new_session=True", "user=65534, group=65534"])
def test_program_dies_with_the_parent(hook: str, thread: str, options: str, needs_root_for) -> None:
    if hook == "preexec_fn" and thread == "ended":
        pytest.skip("refused there: api/test_hooks, test_refused_in_another_thread")
    needs_root_for("user" in options, "only root can change its uid")
    with parent("hooked", thread, f"orphanguard.{hook}", options) as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


def test_program_survives_unguarded() -> None:
    with parent("hooked", "main", "None", "") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_program_of_a_parent_that_drops_its_uid(thread: str, needs_root_for) -> None:
    needs_root_for(True, "only root can change its uid")
    with parent("hooked", thread, "orphanguard.PreexecFn()", "") as running:
        children = running.watch(running.read()["children"])
        assert running.ask("os.setresuid(65534, 65534, 65534); say(uid=os.getuid())") == {"uid": 65534}
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("hook", ["preexec_fn", "PreexecFn()"])
def test_asyncio(hook: str) -> None:
    with parent("hooked", "asyncio", f"orphanguard.{hook}", "") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("hook", ["orphanguard.die_with_parent", "lambda: orphanguard.die_with_parent()"])
def test_die_with_parent_as_a_preexec_fn(hook: str) -> None:
    """As a preexec_fn it arms PDEATHSIG alone, since a lifeline of the child's own would end with the exec."""
    with parent("hooked", "main", hook, "") as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []

"""Where the kernel refuses what a tether takes, children are flat: they start, and they die with their parent.

Their guards say that they are guarded less well.
"""

from __future__ import annotations

import errno
import sys

import pytest

from orphanguard._core.guard import FLAT
from tests.support.kernel import PROGRAMS, SOCKETS
from tests.support.proc import DEATH, LIFE
from tests.support.witness import ACTOR, METHODS, Parent, Watched, family, parent


def refusing(call: str) -> tuple[str, str]:
    return "--before", f"import filtered; filtered.refuse({call!r}, {errno.EPERM})"


def flat_and_guarded(running: Parent, children: Watched, told: dict[str, list]) -> None:
    assert told["flat"] == [errno.EPERM] * 2
    assert FLAT in told["by"]
    assert len(children.alive(within=LIFE)) == 2
    running.kill()
    assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("call", SOCKETS)
@pytest.mark.parametrize("method", METHODS)
def test_processes(method: str, call: str) -> None:
    if method == "forkserver" and call in ("sendmsg", "recvmsg"):
        pytest.skip("the standard library's fork server is sent fds as well")
    with family(method, "ended", extra=refusing(call)) as (running, children):
        told = running.ask("say(flat=[p._popen.child.flat for p in processes], by=processes[0].guard.defeated_by)")
        flat_and_guarded(running, children, told)


@pytest.mark.parametrize("call", SOCKETS)
@pytest.mark.parametrize("how", PROGRAMS)
def test_programs(how: str, call: str) -> None:
    start = how.replace("Popen(", "Popen(SLEEP, ")
    with parent("programs", "ended", "guarded", start, start, *refusing(call)) as running:
        children = running.watch(running.read()["children"])
        told = running.ask("say(flat=[p._child.flat for p in processes], by=processes[0].guard.defeated_by)")
        flat_and_guarded(running, children, told)


@pytest.mark.parametrize("call", SOCKETS)
@pytest.mark.parametrize(
    "start",
    [
        "Popen(SLEEP, death_signal=15)",
        "Popen(SLEEP, tree=True)",
        "Popen(SLEEP, tree=True, preexec_fn=os.getpid)",
        "standard.Popen(SLEEP, preexec_fn=__import__('orphanguard').PreexecFn())",
        "blocked(run, SLEEP)",
    ],
)
def test_other_ways(start: str, call: str) -> None:
    with parent("programs", "ended", "guarded", start, start, *refusing(call)) as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


ASYNCIO = f"""{ACTOR}
import asyncio, filtered, orphanguard
async def main():
    filtered.refuse(sys.argv[1], 1)  # the loop itself needs sockets
    process = await orphanguard.create_subprocess_exec("sleep", "1000")
    say(children=[process.pid])
    await asyncio.Event().wait()
threading.Thread(target=asyncio.run, args=(main(),)).start()
"""


@pytest.mark.parametrize("call", SOCKETS)
def test_asyncio(call: str) -> None:
    running = Parent("-c", ASYNCIO, call)
    try:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 1
        running.kill()
        assert children.alive(within=DEATH) == []
    finally:
        running.close()


@pytest.mark.parametrize("call", SOCKETS)
@pytest.mark.parametrize("who", ["both", "the child"])
def test_children_that_arm_themselves(who: str, call: str) -> None:
    """Then the description of a foreign child is in the child alone."""
    refuse = f"__import__('filtered').refuse({call!r}, 1)"
    both = f"({refuse}, orphanguard.die_with_parent)[1]"
    how = both if who == "both" else f"(lambda: ({refuse}, orphanguard.die_with_parent())[1])"
    with parent("dying", "fork", "ended", how) as running:
        told = running.read()
        children = running.watch(told["children"])
        assert (told["error"], told["layers"]) == ("", ["lifeline"])
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("how", ["plain", "guarded"])
def test_controls(how: str) -> None:
    """Unguarded children survive, and no child is flat where no call is refused."""
    extra = refusing("sendmsg") if how == "plain" else ()
    with family("fork", "ended", guarded=how == "guarded", extra=extra) as (running, children):
        if how == "guarded":
            told = running.ask("say(flat=[p._popen.child.flat for p in processes], by=processes[0].guard.defeated_by)")
            assert told["flat"] == [0, 0]
            assert FLAT not in told["by"]
            return
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


def test_what_is_said() -> None:
    """The child says so, and so does its parent; but not where PDEATHSIG is armed too, which needs no order of
    release."""
    program = f"""{ACTOR}
import filtered, orphanguard
from orphanguard._core.guard import FLAT, current_guard
filtered.refuse("socketpair", 1)
context = orphanguard.get_context("fork")
def child(): print(FLAT in current_guard().defeated_by)
def start():
    process = context.Process(target=child)
    process.start()
    process.join()
    print(FLAT in process.guard.defeated_by, flush=True)
start()
run_in("ended", start)
"""
    running = Parent("-c", program)
    try:
        out, _ = running.process.communicate(timeout=DEATH)
    finally:
        running.close()
    assert out.split() == ["False", "False", "True", "True"], sys.version

"""The parent is killed at the worst moments of the start of a `Process`: strace holds the child there."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.kernel import HOLD, injected, strace
from tests.support.proc import DEATH, LIFE, children_of, wait_for
from tests.support.witness import METHODS, Token, parent

# The child calls fcntl(F_SETOWN), prctl(PR_SET_PDEATHSIG) if the main thread forks, and poll() to see that its parent
# is alive. `when=1` is the first call of that name in each process.
HOLDS = {
    "before arming": f"fcntl:delay_enter={HOLD}:when=1",
    "between the two layers": f"prctl:delay_enter={HOLD}:when=1",
    "before the alive check": f"poll:delay_enter={HOLD}:when=1",
}
LARGE = ("--memory", "1024", "--busy", "2")


@strace
@pytest.mark.parametrize("size", [(), LARGE], ids=["small", "1 GiB, busy threads"])
@pytest.mark.parametrize("where", HOLDS)
@pytest.mark.parametrize("thread", ("main", "running"))
@pytest.mark.parametrize("method", ("fork", "spawn"))
def test_killed_while_the_child_is_held(method: str, thread: str, where: str, size: tuple[str, ...]) -> None:
    if where == "between the two layers" and thread != "main":
        pytest.skip("there is only one layer in children of other threads")
    with parent("starter", method, thread, "guarded", "1", *size, wrapper=injected(HOLDS[where])) as tracer:
        assert tracer.read() == {"ready": True}
        [actor] = children_of(tracer.process.pid)
        actors = tracer.watch([actor])
        [child] = wait_for(lambda: children_of(actor, without="resource_tracker"))
        children = tracer.watch([child])
        actors.kill()
        assert actors.alive(within=DEATH) == []
        assert children.alive(within=DEATH) == []


@strace
@pytest.mark.parametrize("size", [(), LARGE], ids=["small", "1 GiB, busy threads"])
def test_killed_while_the_fork_servers_child_is_held(size: tuple[str, ...]) -> None:
    token = Token()
    with parent(
        "starter",
        "forkserver",
        "main",
        "guarded",
        "1",
        *size,
        wrapper=injected(HOLDS["before the alive check"]),
        env=token.environment,
    ) as tracer:
        try:
            assert tracer.read() == {"ready": True}
            [actor] = children_of(tracer.process.pid)
            actors = tracer.watch([actor])
            server = wait_for(lambda: children_of(actor, "multiprocessing.forkserver"))
            children = tracer.watch(wait_for(lambda: children_of(server[0])))
            actors.kill()
            assert actors.alive(within=DEATH) == []
            assert children.alive(within=DEATH) == []
            assert [pid for pid in token.survivors(within=DEATH) if pid != tracer.process.pid] == []
        finally:
            tracer.process.kill()
            token.clean_up()


FORKS_MEANWHILE = """
from orphanguard._core import lifelines
held, gives_back = lifelines.held()
first = os.fork() or os._exit(0)  # makes a tether for foreign children
os.waitpid(first, 0)
siblings, enough = [], threading.Event()
def fork_too():
    while not enough.wait(0.01):
        siblings.append(os.fork() or idle())
thread = threading.Thread(target=fork_too)
thread.start()
lifelines.open(held, pdeathsig=True)  # calls prctl() before it takes the lock, if this is the main thread
enough.set(), thread.join()
process = ctx.Process(target=idle)
thread = threading.Thread(target=process.start)  # without the second layer
thread.start(), thread.join()
say(pid=os.getpid(), child=process.pid, siblings=siblings)
"""


@strace
def test_an_unguarded_fork_while_a_tether_is_made() -> None:
    """A child that is forked between the arrival of the tether and the moment at which the at-fork handlers know of the
    tether would keep a copy of it."""
    # The thread that forks waits in clone() nearly all the time, and has the GIL. The other thread has no GIL in
    # prctl(); then it makes the tether, and strace holds it at the arrival of the tether for longer than a clone()
    # takes.
    wrapper = injected("prctl:delay_enter=200000", "recvmsg:delay_exit=300000", "clone:delay_enter=150000")
    with parent("family", "fork", "main", "guarded", "0", "idle", wrapper=wrapper) as tracer:
        assert tracer.read() == {"children": []}
        answer = tracer.ask(f"exec({FORKS_MEANWHILE!r}, globals())")
        siblings, child = tracer.watch(answer["siblings"]), tracer.watch([answer["child"]])
        assert answer["siblings"]
        tracer.watch([answer["pid"]]).kill()
        assert child.alive(within=DEATH) == []
        assert siblings.alive(within=LIFE) == sorted(answer["siblings"])


@pytest.mark.parametrize("size", [(), ("--payload", "4096"), LARGE], ids=["small", "4 MiB of arguments", "1 GiB"])
@pytest.mark.parametrize("thread", ("main", "running"))
@pytest.mark.parametrize("method", METHODS)
def test_killed_in_the_middle_of_start(method: str, thread: str, size: tuple[str, ...]) -> None:
    rounds = {"fork": 12, "spawn": 4, "forkserver": 4}[method] if size != LARGE else 2
    dice = random.Random(f"{method}{thread}{size}")
    for _ in range(rounds):
        token = Token()
        with parent("starter", method, thread, "guarded", "0", *size, env=token.environment) as starter:
            try:
                assert starter.read() == {"ready": True}
                time.sleep(dice.uniform(0, 0.15))
                starter.kill()
                starter.ended()
                assert token.survivors(within=DEATH) == []
            finally:
                token.clean_up()


@pytest.mark.parametrize("method", METHODS)
def test_killed_in_the_middle_of_start_unguarded(method: str) -> None:
    token = Token()
    with parent("starter", method, "main", "plain", "0", env=token.environment) as starter:
        try:
            assert starter.read() == {"ready": True}
            # The parent, the fork server and some children: the start of all children but the last is complete.
            wait_for(lambda: len(token.holders()) > 5)
            starter.kill()
            starter.ended()
            assert token.survivors(within=LIFE)
        finally:
            token.clean_up()

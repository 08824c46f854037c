"""More fds are in flight than the user may have (unix(7), ETOOMANYREFS): no start fails.

Where even the hard limit is reached children are flat, and their guards say so.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import pytest

from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE
from tests.support.witness import Parent, Watched, parent

pytestmark = as_root

SOFT, HARD = 64, 400

SETUP = f"""
import array, resource, socket
import orphanguard
from orphanguard._core import lifelines
from orphanguard._core.guard import FLAT
from orphanguard.doctor import lifeline
orphanguard.Popen, orphanguard.PreexecFn, orphanguard.die_with_parent
context = orphanguard.get_context("fork")
context.Process(target=int)  # loads the module: another user may not be able to read it
uid = 100_000 + os.getpid()
resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT}, {HARD}))
os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
keep, queue = [], socket.socketpair()
def send(count):
    queue[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * count))])
def in_flight(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    send(count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
def refused():
    try: send(1)
    except OSError as error: return error.errno
    return 0
def start():
    program, process = Popen(SLEEP), context.Process(target=signal.pause)
    process.start()
    keep.extend([program, process])
    say(children=[program.pid, process.pid], flat=[program._child.flat, process._popen.child.flat],
        said=[FLAT in each.guard.defeated_by for each in (program, process)], tether=lifeline()[1].ok)
def in_thread(function):  # the thread ends, so no PDEATHSIG helps
    thread = threading.Thread(target=function)
    thread.start(), thread.join()
"""


@contextlib.contextmanager
def user() -> Iterator[Parent]:
    with parent("programs", "main", "guarded", "--before", SETUP) as running:
        assert running.read() == {"children": []}
        yield running


def started(running: Parent, why: int) -> Watched:
    answer = running.ask("in_thread(start)")
    assert answer["flat"] == [why] * 2
    assert answer["said"] == [why != 0] * 2
    assert answer["tether"] is (why == 0)
    return running.watch(answer["children"])


def all_end(running: Parent, *children: Watched) -> None:
    assert [len(each.alive(within=LIFE)) for each in children] == [2] * len(children)
    running.kill()
    assert [each.alive(within=DEATH) for each in children] == [[]] * len(children)


def test_above_the_soft_limit() -> None:
    """A helper process that raises its own soft limit sends the description. Another one makes the tether in that
    way."""
    with user() as running:
        before = started(running, 0)
        running.ask("in_flight(100); say(done=True)")
        assert running.ask("say(refused=refused())") == {"refused": errno.ETOOMANYREFS}
        after = started(running, 0)
        soft, hard = running.ask("say(limits=resource.getrlimit(resource.RLIMIT_NOFILE))")["limits"]
        assert (soft, hard) == (SOFT, HARD)
        all_end(running, before, after)


def test_the_first_one_above_the_soft_limit() -> None:
    with user() as running:
        running.ask("in_flight(100); say(done=True)")
        all_end(running, started(running, 0))


def test_more_children_than_the_soft_limit_allows_in_flight() -> None:
    """The children's descriptions alone are more than the soft limit."""
    with user() as running:
        running.ask("held = [lifelines.held() for _ in range(150)]; say(done=True)")
        many = "for each, _ in held: lifelines.open(each, pdeathsig=False); lifelines.let_go(each)"
        running.tell(f"exec({many!r})")
        assert running.ask("say(flat=[each.flat for each, _ in held])")["flat"] == [0] * 150
        assert running.ask("say(refused=refused())") == {"refused": errno.ETOOMANYREFS}
        all_end(running, started(running, 0))


LOWER = "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 90))"


@pytest.mark.parametrize("first", ["one before", "none before"])
def test_above_the_hard_limit(first: str) -> None:
    with user() as running:
        children = [started(running, 0)] if first == "one before" else []
        running.ask(f"in_flight(100); {LOWER}; say(done=True)")
        children.append(started(running, errno.ETOOMANYREFS))
        running.ask("queue[1].recv(1); say(done=True)")
        children.append(started(running, 0))  # there is room again
        all_end(running, *children)


ARMED = """
import sys
def child():
    orphanguard.die_with_parent()
    said = "the child closes all its fds" in orphanguard._core.guard.current_guard().defeated_by
    os.closerange(3, 1000)
    os.write(1, b'{"said": %s}\\n' % str(said).lower().encode())
    signal.pause()
def fork():
    keep.append(os.fork())
    if keep[-1] == 0: child()
"""


@pytest.mark.parametrize("hard", ["", LOWER])
def test_one_that_arms_itself(hard: str) -> None:
    """A foreign child sends its description itself. Above the hard limit the description is in the child alone, which
    closes it and lives on."""
    with user() as running:
        running.ask(f"exec({ARMED!r}, globals()); in_flight(100); {hard or 'None'}; say(done=True)")
        said = running.ask("in_thread(fork)")
        child = running.watch(running.ask("say(pids=keep)")["pids"])
        assert len(child.alive(within=LIFE)) == 1
        running.kill()
        assert len(child.alive(within=LIFE if hard else DEATH)) == bool(hard)
        assert said == {"said": bool(hard)}

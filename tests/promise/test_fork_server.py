"""Children of a fork server die with the process that asked for them, whatever becomes of the server."""

from __future__ import annotations

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import family

SERVER = "from multiprocessing import forkserver; server = forkserver._forkserver._forkserver_pid; "


@pytest.mark.parametrize("thread", ("main", "ended"))
def test_the_fork_server_is_killed(thread: str) -> None:
    """The children live on: their parent is the process that asked for them, and they die with that process."""
    with family("forkserver", thread) as (parent_, children):
        answer = parent_.ask(SERVER + "os.kill(server, 9); os.waitpid(server, 0); say(pid=server)")
        assert len(children.alive(within=LIFE)) == 2
        assert parent_.ask("say(alive=[p.is_alive() for p in processes])") == {"alive": [True, True]}
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert answer["pid"]


def test_the_fork_server_is_killed_and_starts_again() -> None:
    with family("forkserver") as (parent_, children):
        parent_.tell("forkserver = __import__('multiprocessing.forkserver').forkserver._forkserver")
        parent_.tell("os.kill(forkserver._forkserver_pid, 9)")
        answer = parent_.ask(
            "time.sleep(0.1); p = ctx.Process(target=child_main, args=(queue, idle, b'')); p.start(); "
            "say(children=[queue.get()], server=forkserver._forkserver_pid)"
        )
        more = parent_.watch([*answer["children"], answer["server"]])
        parent_.tell("processes[0].kill()")
        assert parent_.ask("processes[0].join(); say(code=processes[0].exitcode)")["code"] in (-9, 255)
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert more.alive(within=DEATH) == []


SLOW = """
import orphanguard
from orphanguard._stdlib import multiprocessing as _stdlib
read = _stdlib.read_signed
def hold(status):
    pid = read(status)
    os.kill(pid, 19)
    os.kill(forkserver._forkserver._forkserver_pid, 9)
    threading.Timer(0.3, os.kill, (pid, 18)).start()
    return pid
_stdlib.read_signed = hold
from multiprocessing import forkserver
process = ctx.Process(target=child_main, args=(queue, idle, b""))
process.start()
program = orphanguard.Popen(["sleep", "1000"])  # which must not get the slow child's slot
say(pids=[queue.get(), program.pid])
"""


def test_the_fork_server_is_killed_while_its_child_is_slow() -> None:
    """The end of the server is not the end of its child, which answers when it runs again, and is guarded."""
    with family("forkserver") as (parent_, _):
        started = parent_.watch(parent_.ask(f"exec({SLOW!r})")["pids"])
        assert len(started.alive(within=LIFE)) == 2
        parent_.kill()
        assert started.alive(within=DEATH) == []


FAILING = """
from orphanguard._core import waiting
def fail(*_):
    time.sleep(0.2)  # by then the child has armed itself
    raise OSError(28, "no room in the epoll")
reader, writer = os.pipe()
if failing: waiting.Registry.add = fail
process = ctx.Process(target=os.write, args=(2, b"it ran"))
try: process.start()
except OSError: pass
else: process.join()
say(pid=process.pid or 0)
"""


@pytest.mark.parametrize("failing", [True, False])
def test_a_fork_servers_child_waits_for_the_end_of_its_start(failing: bool, capfd) -> None:
    with family("forkserver") as (parent_, _):
        assert bool(parent_.ask(f"failing = {failing}; exec({FAILING!r})")["pid"]) is not failing
    assert ("it ran" in capfd.readouterr().err) is not failing


def test_the_fork_server_dies_with_its_parent() -> None:
    with family("forkserver") as (parent_, _):
        server = parent_.watch([parent_.ask(SERVER + "say(pid=server)")["pid"]])
        parent_.kill()
        assert server.alive(within=DEATH) == []


UNARMED = """
import orphanguard._core.pidfds
def fork_too(_, pid):
    sibling = os.fork() or idle()
    say(child=pid, sibling=sibling)
    idle()
orphanguard._core.pidfds.hold = fork_too
ctx.Process(target=idle).start()
"""


def test_an_unguarded_fork_while_the_fork_servers_child_is_not_armed() -> None:
    """The server's child reads until all write ends are closed. The unguarded child must hold none of them."""
    with family("forkserver") as (parent_, _):
        answer = parent_.ask(f"exec({UNARMED!r})")
        child, sibling = parent_.watch([answer["child"]]), parent_.watch([answer["sibling"]])
        assert child.alive(within=LIFE) == [answer["child"]]
        parent_.kill()
        assert child.alive(within=DEATH) == []
        assert sibling.alive(within=LIFE) == [answer["sibling"]]


SERVER_GONE = """
import orphanguard._core.pidfds, warnings
from multiprocessing import reduction
warnings.simplefilter("ignore")
orphanguard._core.pidfds.reaped_status = lambda *_: None  # a kernel before Linux 6.15
send, siblings = reduction.sendfds, []
def fork_too(*args):
    siblings.append(os.fork() or idle())
    send(*args)
reduction.sendfds = fork_too
process = ctx.Process(target=idle)
process.start()
os.kill(server, 9); os.waitpid(server, 0)
process.kill()
process.join(15)
say(exitcode=process.exitcode, siblings=siblings)
"""


def test_an_unguarded_fork_does_not_hide_that_the_fork_server_is_gone() -> None:
    with family("forkserver") as (parent_, _):
        answer = parent_.ask(SERVER + f"exec({SERVER_GONE!r})")
        parent_.watch(answer["siblings"])
        assert len(answer["siblings"]) == 1
        assert answer["exitcode"] == 255

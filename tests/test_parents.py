"""What the parent may do to itself: drop privileges, exec, close its fds, fork by other means."""

from __future__ import annotations

from pathlib import Path

import pytest
from witness import DEATH, LIFE, METHODS, family, wait_for

DROP = "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)"


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_parent_drops_its_uid(method: str, thread: str, needs_root_for) -> None:
    """PDEATHSIG is checked against the dying parent's credentials; the lifeline against the child's own."""
    needs_root_for(True, "only root can change its uid")
    with family(method, thread) as (parent_, children):
        assert parent_.ask(f"{DROP}; say(uid=os.getuid())") == {"uid": 65534}
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert children.alive(within=DEATH) == []


def test_starts_after_the_uid_was_dropped(needs_root_for) -> None:
    """The pipe belongs to root, so a description of it can't be re-opened: then each child has one of its own."""
    needs_root_for(True, "only root can change its uid")
    with family("fork") as (parent_, first):
        later = parent_.ask(
            f"{DROP}; more = [ctx.Process(target=child_main, args=(queue, idle, b'')) for _ in range(3)]; "
            "[p.start() for p in more]; say(children=[queue.get() for _ in more])"
        )
        children = parent_.watch(later["children"])
        parent_.ask("more[0].kill(); more[0].join(); say(done=True)")
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert first.alive(within=DEATH) == []


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_parent_executes_another_program(method: str, thread: str) -> None:
    """The program that held the handles is gone, and so are its children: the lifeline closes on exec."""
    with family(method, thread) as (parent_, children):
        parent_.tell("os.execv('/bin/sleep', ['sleep', '1000'])")
        assert children.alive(within=DEATH) == []
        assert parent_.process.poll() is None


def test_parent_executes_another_program_unguarded() -> None:
    with family("fork", guarded=False) as (parent_, children):
        parent_.tell("os.execv('/bin/sleep', ['sleep', '1000'])")
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("method", METHODS)
def test_parent_closes_all_its_fds(method: str) -> None:
    """Documented, not wanted: the tether is gone, so the children die early."""
    with family(method, "ended") as (parent_, children):
        parent_.tell("os.closerange(3, 20000)")
        assert children.alive(within=DEATH) == []
        assert parent_.process.poll() is None


@pytest.mark.usefixtures("many_fds")
def test_starts_after_all_fds_were_closed() -> None:
    """A daemon closes everything and then starts its children: a new lifeline, and nobody else's fds touched."""
    with family("fork", count=1) as (parent_, _):
        answer = parent_.ask(
            "[(p.kill(), p.join(), p.close()) for p in processes]; "
            "os.closerange(3, 20000); mine = [os.open('/dev/null', os.O_RDONLY) for _ in range(1100)]; "
            "queue = ctx.SimpleQueue(); more = [ctx.Process(target=child_main, args=(queue, idle, b''))"
            " for _ in range(3)]; [p.start() for p in more]; children = [queue.get() for _ in more]; "
            "say(children=children, still_open=all(os.fstat(fd) for fd in mine))"
        )
        assert answer["still_open"]
        children = parent_.watch(answer["children"])
        assert len(children.alive(within=LIFE)) == 3
        parent_.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("how", ["os.fork", "libc.fork"])
def test_a_fork_that_is_not_ours_holds_nobody_up(how: str) -> None:
    """An unguarded sibling, forked by Python or by a C library, lives on and must not keep the others alive."""
    with family("fork", "ended") as (parent_, children):
        sibling = parent_.ask(f"pid = {how}() or idle(); say(pid=pid)")
        unguarded = parent_.watch([sibling["pid"]])
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert unguarded.alive(within=LIFE) == [sibling["pid"]]


@pytest.mark.parametrize("method", METHODS)
def test_a_program_that_is_not_ours_holds_nobody_up(method: str) -> None:
    """close_fds=False: only close-on-exec keeps the tether out of it."""
    with family(method, "ended") as (parent_, children):
        sibling = parent_.ask(
            "import subprocess; p = subprocess.Popen(['sleep', '1000'], close_fds=False); say(pid=p.pid)"
        )
        unguarded = parent_.watch([sibling["pid"]])
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert unguarded.alive(within=LIFE) == [sibling["pid"]]


SERVER = "from multiprocessing import forkserver; server = forkserver._forkserver._forkserver_pid; "


@pytest.mark.parametrize("thread", ("main", "ended"))
def test_the_fork_server_is_killed(thread: str) -> None:
    """Its children's parent is the process that asked for them: they live, and die with that one."""
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
from orphanguard.multiprocessing import _forkserver, _stdlib
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
program = orphanguard.Popen(["sleep", "1000"])  # which must not get that one's lifeline
say(pids=[queue.get(), program.pid])
"""


def test_the_fork_server_is_killed_while_its_child_is_slow() -> None:
    """Its end says nothing of the child's: that one answers when it runs again, and is guarded as any other."""
    with family("forkserver") as (parent_, _):
        started = parent_.watch(parent_.ask(f"exec({SLOW!r})")["pids"])
        assert len(started.alive(within=LIFE)) == 2
        parent_.kill()
        assert started.alive(within=DEATH) == []


FAILING = """
from orphanguard import _waiting
def fail(*_):
    time.sleep(0.2)  # in which the child has long been armed
    raise OSError(28, "no room in the epoll")
reader, writer = os.pipe()
if failing: _waiting.Registry.add = fail
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
import orphanguard._native
def fork_too(_, pid):
    sibling = os.fork() or idle()
    say(child=pid, sibling=sibling)
    idle()
orphanguard._native.pidfd_hold = fork_too
ctx.Process(target=idle).start()
"""


def test_an_unguarded_fork_while_the_fork_servers_child_is_not_armed() -> None:
    """It waits for its data until all write ends are closed; the unguarded child must not have kept one."""
    with family("forkserver") as (parent_, _):
        answer = parent_.ask(f"exec({UNARMED!r})")
        child, sibling = parent_.watch([answer["child"]]), parent_.watch([answer["sibling"]])
        assert child.alive(within=LIFE) == [answer["child"]]
        parent_.kill()
        assert child.alive(within=DEATH) == []
        assert sibling.alive(within=LIFE) == [answer["sibling"]]


SERVER_GONE = """
import orphanguard._native, warnings
from multiprocessing import reduction
warnings.simplefilter("ignore")
orphanguard._native.pidfd_reaped_status = lambda *_: None  # a kernel before Linux 6.15
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


CLOSE = """
fds = sorted((int(fd) for fd in os.listdir("/proc/self/fd")), reverse={})
[os.close(fd) for fd in fds if fd > 2 and os.path.exists(f"/proc/self/fd/{{fd}}")]
say(done=True)
"""


@pytest.mark.parametrize("order", ["lowest first", "highest first"])
@pytest.mark.parametrize("thread", ["main", "ended"])
def test_parent_closes_its_fds_one_by_one(thread: str, order: str) -> None:
    """Documented, not wanted: the tether goes, so the children die early. None is lost, whatever it has closed."""
    with family("fork", thread, child="close_fds") as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2
        parent_.ask(f"exec({CLOSE.format(order == 'highest first')!r})")
        assert children.alive(within=DEATH) == []
        assert parent_.process.poll() is None


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_parent_closes_its_fds_one_by_one_without_sockets(thread: str) -> None:
    """The control, and documented: both ends of a pipe are in the parent's table, and the read end is the lower one.
    The child is lost then, and lives, unless PDEATHSIG is armed as well."""
    refused = ("--before", "import filtered; filtered.refuse('socketpair', 1)")
    with family("fork", thread, child="close_fds", extra=refused) as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2  # and both have closed theirs
        parent_.ask(f"exec({CLOSE.format(False)!r})")
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert len(children.alive(within=LIFE if thread == "ended" else DEATH)) == (2 if thread == "ended" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_disarms_itself(method: str) -> None:
    """Documented, and its own doing: nothing that a child could not undo is between it and its parent."""
    with family(method, child="disarm") as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert len(children.alive(within=LIFE)) == 2


MAIN_THREAD_ENDS = "threading.Thread(target=idle).start(); libc.pthread_exit(None)"


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_the_main_thread_of_the_parent_ends(thread: str) -> None:
    """Documented, not wanted: pthread_exit() in the main thread of a process that lives on in others. To PDEATHSIG that
    is the parent's death; so children of the main thread die early, and those of other threads, without it, don't."""
    with family("fork", thread) as (parent_, children):
        parent_.tell(MAIN_THREAD_ENDS)
        if thread == "main":
            assert children.alive(within=DEATH) == []
            assert parent_.process.poll() is None
            return
        wait_for(lambda: ") Z " in Path(f"/proc/{parent_.process.pid}/stat").read_text())
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert children.alive(within=DEATH) == []

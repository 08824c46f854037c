"""What the parent may do to itself: drop privileges, exec, close its fds, fork by other means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.programs import DROP
from tests.support.witness import METHODS, family


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize("method", METHODS)
def test_parent_drops_its_uid(method: str, thread: str, needs_root_for) -> None:
    """The kernel checks PDEATHSIG against the credentials of the dying parent, the lifeline against those of the
    child."""
    needs_root_for(True, "only root can change its uid")
    with family(method, thread) as (parent_, children):
        assert parent_.ask(f"{DROP}; say(uid=os.getuid())") == {"uid": 65534}
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert children.alive(within=DEATH) == []


def test_starts_after_the_uid_was_dropped(needs_root_for) -> None:
    """The pipe belongs to root, so this user can open no further description of it. Each child gets a strand of its
    own."""
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
    """The program that held the handles is gone, and its children die: the tether closes on exec."""
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
    """A daemon closes all fds and then starts its children. They get a new tether, and no other fd is touched."""
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
    """With close_fds=False only close-on-exec keeps the tether out of the program."""
    with family(method, "ended") as (parent_, children):
        sibling = parent_.ask(
            "import subprocess; p = subprocess.Popen(['sleep', '1000'], close_fds=False); say(pid=p.pid)"
        )
        unguarded = parent_.watch([sibling["pid"]])
        parent_.kill()
        assert children.alive(within=DEATH) == []
        assert unguarded.alive(within=LIFE) == [sibling["pid"]]


CLOSE = """
fds = sorted((int(fd) for fd in os.listdir("/proc/self/fd")), reverse={})
[os.close(fd) for fd in fds if fd > 2 and os.path.exists(f"/proc/self/fd/{{fd}}")]
say(done=True)
"""


@pytest.mark.parametrize("order", ["lowest first", "highest first"])
@pytest.mark.parametrize("thread", ["main", "ended"])
def test_parent_closes_its_fds_one_by_one(thread: str, order: str) -> None:
    """Documented, not wanted: the tether goes, so the children die early. No child is lost, whatever the child has
    closed."""
    with family("fork", thread, child="close_fds") as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2
        parent_.ask(f"exec({CLOSE.format(order == 'highest first')!r})")
        assert children.alive(within=DEATH) == []
        assert parent_.process.poll() is None


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_parent_closes_its_fds_one_by_one_without_sockets(thread: str) -> None:
    """The control, and documented: without a tether both ends of the pipe are in the parent's table of fds, and the
    read end has the lower number. The parent closes it first, and the child is lost, unless PDEATHSIG is armed too."""
    refused = ("--before", "import filtered; filtered.refuse('socketpair', 1)")
    with family("fork", thread, child="close_fds", extra=refused) as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2  # and both have closed their own fds
        parent_.ask(f"exec({CLOSE.format(False)!r})")
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert len(children.alive(within=LIFE if thread == "ended" else DEATH)) == (2 if thread == "ended" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_disarms_itself(method: str) -> None:
    """Documented, and the child's own doing: a child can undo whatever ties it to its parent."""
    with family(method, child="disarm") as (parent_, children):
        assert len(children.alive(within=LIFE)) == 2
        parent_.kill()
        assert len(children.alive(within=LIFE)) == 2


MAIN_THREAD_ENDS = "threading.Thread(target=idle).start(); libc.pthread_exit(None)"


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_the_main_thread_of_the_parent_ends(thread: str) -> None:
    """Documented, not wanted: the main thread calls pthread_exit(), and the process lives on in other threads. For
    PDEATHSIG that is the parent's death, so children of the main thread die early. Children of other threads have no
    PDEATHSIG, and live."""
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

"""No program of `Popen`, `run` and the like outlives its parent, however it was started."""

from __future__ import annotations

import os

import pytest

from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.programs import DROP, FORMS, SIGTERM, names, programs
from tests.support.witness import ENDS, THREADS, end


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("thread", THREADS)
def test_no_program_survives(thread: str, how: str) -> None:
    forms = FORMS | SIGTERM
    with programs(thread, *forms.values()) as (running, children):
        end(running, ENDS[how])
        assert names(children, forms, children.alive(within=DEATH)) == []


@pytest.mark.parametrize("library", ["unguarded", "plain"])
@pytest.mark.parametrize("how", ENDS)
def test_unguarded_programs_survive(library: str, how: str) -> None:
    """The negative control, form by form."""
    with programs("main", *FORMS.values(), library=library) as (running, children):
        end(running, ENDS[how])
        assert names(children, FORMS, children.alive(within=LIFE)) == list(FORMS)


def test_large_parent_with_busy_threads() -> None:
    for thread in ("main", "ended"):
        with programs(thread, *FORMS.values(), extra=("--memory=512", "--busy=2")) as (running, children):
            running.kill()
            assert names(children, FORMS, children.alive(within=DEATH)) == []


@pytest.mark.parametrize("thread", THREADS)
def test_another_death_signal_comes_once(thread: str) -> None:
    """A program that handles the signal lives on. There are three, each started in another way."""
    program = (
        "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'T')); os.write(1, b'U')\n"
        "while True: signal.pause()"
    )
    keywords = ("", ", close_fds=False", ", preexec_fn=os.getpid")
    told, tell = os.pipe()
    starts = [
        f"Popen([sys.executable, '-SE', '-c', {program!r}], stdout={tell}, death_signal=signal.SIGTERM{more})"
        for more in keywords
    ]
    try:
        with programs(thread, *starts, pass_fds=[tell]) as (running, children):
            os.close(tell)
            up = b""
            while len(up) < 3:
                up += os.read(told, 3)
            assert up == b"UUU"
            assert len(children.alive(within=LIFE)) == 3
            running.kill()
            running.ended()
            heard = b""
            while len(heard) < 3:
                heard += os.read(told, 3)
            assert len(children.alive(within=LIFE)) == 3
            children.kill()
            assert heard + os.read(told, 100) == b"TTT"
    finally:
        os.close(told)


@as_root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_parent_drops_its_uid(thread: str) -> None:
    """Some programs are started as root, others afterwards, when the parent may no longer open the pipe anew."""
    with programs(thread, *FORMS.values()) as (running, first):
        running.tell(f"{DROP}; processes += [Popen(SLEEP) for _ in range(3)]")
        later = running.ask("say(pids=[p.pid for p in processes[-3:]])")
        children = running.watch(later["pids"])
        running.ask("processes[-1].kill(); processes[-1].wait(); say(done=True)")
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []
        assert names(first, FORMS, first.alive(within=DEATH)) == []


@pytest.mark.parametrize("thread", ("main", "ended"))
def test_parent_executes_another_program(thread: str) -> None:
    """Documented, not wanted: the program that held the handles is gone, and the tether closes on exec."""
    with programs(thread, *FORMS.values()) as (running, children):
        running.tell("os.execv('/bin/sleep', ['sleep', '1000'])")
        assert names(children, FORMS, children.alive(within=DEATH)) == []
        assert running.process.poll() is None


CLOSED = {
    "all": "os.closerange(3, 20000)",
    "one by one": "[os.closerange(fd, fd + 1) for fd in range(3, 1000)]",
    "the highest first": "[os.closerange(fd, fd + 1) for fd in range(1000, 2, -1)]",
}


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_parent_closes_its_fds(thread: str, closed: str) -> None:
    """Documented, not wanted: the programs die early. Programs that are started afterwards are guarded as ever."""
    with programs(thread, *FORMS.values()) as (running, children):
        running.tell(CLOSED[closed])
        assert names(children, FORMS, children.alive(within=DEATH)) == []
        later = running.watch([running.ask("p = Popen(SLEEP); say(pid=p.pid)")["pid"]])
        assert len(later.alive(within=LIFE)) == 1
        running.kill()
        assert later.alive(within=DEATH) == []


@pytest.mark.parametrize("how", ["os.fork", "libc.fork"])
def test_unguarded_siblings_hold_nobody_up(how: str) -> None:
    sibling = f"{how}() or [signal.pause() for _ in iter(int, 1)]"
    plain = "standard.Popen(SLEEP, close_fds=False)"
    with programs("ended", *FORMS.values(), sibling, plain, "Popen(SLEEP)") as (running, everybody):
        unguarded = sorted(list(everybody.fds)[-3:-1])
        running.kill()
        running.ended()
        wait_for(lambda: sorted(everybody.alive(within=LIFE)) == unguarded)
        assert sorted(everybody.alive(within=LIFE)) == unguarded


@pytest.mark.parametrize("thread", ("main", "ended"))
@pytest.mark.parametrize(("refused", "error"), [("clone3", "ENOSYS"), ("close_range", "EPERM")])
def test_under_old_seccomp_profiles(refused: str, error: str, thread: str) -> None:
    """Docker's default profile hides clone3; older ones refuse close_range."""
    before = f"import errno, filtered; filtered.refuse({refused!r}, errno.{error})"
    with programs(thread, *FORMS.values(), extra=("--before", before)) as (running, children):
        answer = running.ask(
            "extra = os.dup2(0, 700, inheritable=True); say(out=check_output(['cat'], input='x', text=True),"
            "status=call('exit 7', shell=True), fds=check_output(['ls', '/proc/self/fd'], text=True).split())"
        )
        assert answer["out"] == "x"
        assert answer["status"] == 7
        assert answer["fds"] == ["0", "1", "2", "3"]  # ls has the directory open
        running.kill()
        assert names(children, FORMS, children.alive(within=DEATH)) == []

"""Programs of `orphanguard.subprocess`: none outlives its parent, none dies early, however it was started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_promise import ENDS, end
from witness import DEATH, LIFE, THREADS, Parent, Watched, parent, wait_for

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")

FORMS = {
    "Popen": "Popen(SLEEP)",
    "a path": "Popen('/bin/sleep 1000'.split())",
    "run": "blocked(run, SLEEP)",
    "call": "blocked(call, SLEEP)",
    "check_output": "blocked(check_output, SLEEP)",
    "shell": "Popen('exec sleep 1000', shell=True)",
    "pipes": "Popen(SLEEP, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)",
    "pass_fds": "Popen(SLEEP, pass_fds=[os.open('/dev/null', os.O_RDONLY)])",
    "close_fds=False": "Popen(SLEEP, close_fds=False)",
    "start_new_session": "Popen(SLEEP, start_new_session=True)",
    "preexec_fn": "Popen(SLEEP, preexec_fn=os.getpid)",
    "preexec_fn, close_fds=False": "Popen(SLEEP, preexec_fn=os.getpid, close_fds=False)",
}
if sys.version_info >= (3, 11):
    FORMS["process_group"] = "Popen(SLEEP, process_group=0)"
if os.geteuid() == 0:
    FORMS |= {
        "user": "Popen(SLEEP, user=65534, group=65534, extra_groups=[65534])",
        "group": "Popen(SLEEP, group=65534)",
        "user, close_fds=False": "Popen(SLEEP, user=65534, close_fds=False)",
        "user, preexec_fn": "Popen(SLEEP, user=65534, preexec_fn=os.getpid)",
        "uid dropped in preexec_fn": "Popen(SLEEP, preexec_fn=lambda: os.setresuid(65534, 65534, 65534))",
    }
SIGTERM = {"death_signal": "Popen(SLEEP, death_signal=signal.SIGTERM)"}  # sleep handles none


@contextlib.contextmanager
def programs(
    thread: str, *expressions: str, library: str = "guarded", extra: tuple[str, ...] = (), **options
) -> Iterator[tuple[Parent, Watched]]:
    with parent("programs", *extra, thread, library, *expressions, **options) as running:
        yield running, running.watch(running.read()["children"])


def names(children: Watched, forms: dict[str, str], pids: list[int]) -> list[str]:
    return [form for form, pid in zip(forms, children.fds, strict=True) if pid in pids]


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


@pytest.mark.parametrize("thread", THREADS)
def test_no_program_dies_when_the_parent_lives(thread: str) -> None:
    """A thread ends, siblings end, handles are dropped, the parent is stopped: all live."""
    siblings = ("Popen(SLEEP)", "Popen(SLEEP, death_signal=signal.SIGTERM)", "Popen(SLEEP, preexec_fn=os.getpid)")
    forms = FORMS | SIGTERM
    with programs(thread, *siblings, *forms.values()) as (running, everybody):
        alive = list(everybody.fds)[len(siblings) :]
        running.ask("[(p.kill(), p.wait()) for p in processes[:3]]; say(done=True)")
        running.ask("[run(['true'], death_signal=s, check=True) for s in (9, 15) * 3]; say(done=True)")
        assert sorted(everybody.alive(within=LIFE)) == sorted(alive)
        running.ask("processes.clear(); import gc; gc.collect(); run(['true']); say(done=True)")
        running.kill(signal.SIGSTOP)
        assert sorted(everybody.alive(within=LIFE)) == sorted(alive)
        running.kill(signal.SIGCONT)
        running.kill()
        assert everybody.alive(within=DEATH) == []


def test_large_parent_with_busy_threads() -> None:
    for thread in ("main", "ended"):
        with programs(thread, *FORMS.values(), extra=("--memory=512", "--busy=2")) as (running, children):
            running.kill()
            assert names(children, FORMS, children.alive(within=DEATH)) == []


@pytest.mark.parametrize("thread", THREADS)
def test_another_death_signal_comes_once(thread: str) -> None:
    """A program that handles it lives on; three of them, each started in its own way."""
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


# --- what the program is, and what the parent does to itself


@contextlib.contextmanager
def copy_of(program: str, mode: int = 0o755) -> Iterator[Path]:
    """Where other users get at it, which is not below pytest's directories."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        path = directory / program
        shutil.copyfile(str(shutil.which(program)), path)
        path.chmod(mode)
        yield path
    finally:
        shutil.rmtree(directory)


def becomes(pid: int, what: str) -> None:
    """The parent goes on when the child has left its memory, in the middle of the exec."""
    wait_for(lambda: what in Path(f"/proc/{pid}/status").read_text())


DROP = "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)"


@root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_setuid_program(thread: str) -> None:
    """It clears PDEATHSIG. But its real uid stays, and that is what the lifeline's signal asks for."""
    with copy_of("sleep", 0o4755) as path:
        for library, left in (("guarded", 0), ("plain", 1)):
            start = f"Popen([{str(path)!r}, '1000'])"
            with programs(thread, start, library=library, extra=("--before", DROP)) as (running, children):
                [pid] = children.fds
                becomes(pid, "Uid:\t65534\t0\t0\t0")
                running.kill()
                assert len(children.alive(within=LIFE if left else DEATH)) == left


@root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_program_that_becomes_fully_root(thread: str) -> None:
    """Documented, not wanted: it survives. The kernel lets nobody who is not root signal it."""
    with copy_of("setpriv", 0o4755) as path:
        start = f"Popen([{str(path)!r}, '--reuid=0', 'sleep', '1000'])"
        with programs(thread, start, extra=("--before", DROP)) as (running, children):
            [pid] = children.fds
            becomes(pid, "Uid:\t0\t0\t0\t0")
            running.kill()
            running.ended()
            assert children.alive(within=LIFE) == [pid]


@root
@pytest.mark.skipif(shutil.which("setcap") is None, reason="setcap is not installed (libcap2-bin)")
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_program_with_file_capabilities(thread: str) -> None:
    with copy_of("sleep") as path:
        if os.spawnlp(os.P_WAIT, "setcap", "setcap", "cap_net_raw+ep", path) != 0:
            pytest.skip("this file system keeps no capabilities")
        for library, left in (("guarded", 0), ("plain", 1)):
            start = f"Popen([{str(path)!r}, '1000'])"
            with programs(thread, start, library=library, extra=("--before", DROP)) as (running, children):
                [pid] = children.fds
                becomes(pid, "CapEff:\t0000000000002000")
                running.kill()
                assert len(children.alive(within=LIFE if left else DEATH)) == left


@root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_init_of_a_pid_namespace(thread: str) -> None:
    """Documented, not wanted: the lifeline's signal has no effect on it. PDEATHSIG has, from the main thread."""
    start = "(libc.unshare(0x20000000), Popen(SLEEP))[1]"  # CLONE_NEWPID: of this thread's children
    with programs(thread, start) as (running, children):
        [pid] = children.fds
        assert Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split() == [str(pid), "1"]
        running.kill()
        running.ended()
        assert children.alive(within=DEATH if thread == "main" else LIFE) == ([] if thread == "main" else [pid])


@root
def test_the_init_of_a_pid_namespace_is_the_programs_own() -> None:
    """Not the child that makes a tether, and ends."""
    program = """
import ctypes, os
import orphanguard
assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
pid = os.fork()
if pid == 0:
    os._exit(os.getpid())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"


@root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_parent_drops_its_uid(thread: str) -> None:
    """Before and after: what was started as root, and what is started without the right to re-open the pipe."""
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
    """Documented, not wanted: the program that held the handles is gone, and the write end closes on exec."""
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
    """Documented, not wanted: they die early. What is started afterwards is guarded as ever."""
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

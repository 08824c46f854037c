"""Programs that take other ids or capabilities, or are the init of a pid namespace."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.programs import DROP, programs
from tests.support.witness import python


@contextlib.contextmanager
def copy_of(program: str, mode: int = 0o755) -> Iterator[Path]:
    """A copy that other users can reach, so it is not below pytest's directories."""
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
    """Returns when the exec is complete. The parent goes on earlier: as soon as the child has left its memory."""
    wait_for(lambda: what in Path(f"/proc/{pid}/status").read_text())


def dies_although(path: Path, status: str, thread: str) -> None:
    """A copy of sleep dies with the parent in the state that its exec gives it. The control: unguarded it lives on."""
    for library, left in (("guarded", 0), ("plain", 1)):
        start = f"Popen([{str(path)!r}, '1000'])"
        with programs(thread, start, library=library, extra=("--before", DROP)) as (running, children):
            [pid] = children.fds
            becomes(pid, status)
            running.kill()
            assert len(children.alive(within=LIFE if left else DEATH)) == left


@as_root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_setuid_program(thread: str) -> None:
    """The exec clears PDEATHSIG. But the real uid stays, and the kernel asks for that when the lifeline signals."""
    with copy_of("sleep", 0o4755) as path:
        dies_although(path, "Uid:\t65534\t0\t0\t0", thread)


@as_root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_program_that_becomes_fully_root(thread: str) -> None:
    """Documented, not wanted: the program survives. The kernel lets only root signal it."""
    with copy_of("setpriv", 0o4755) as path:
        start = f"Popen([{str(path)!r}, '--reuid=0', 'sleep', '1000'])"
        with programs(thread, start, extra=("--before", DROP)) as (running, children):
            [pid] = children.fds
            becomes(pid, "Uid:\t0\t0\t0\t0")
            running.kill()
            running.ended()
            assert children.alive(within=LIFE) == [pid]


@as_root
@pytest.mark.skipif(shutil.which("setcap") is None, reason="setcap is not installed (libcap2-bin)")
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_program_with_file_capabilities(thread: str) -> None:
    with copy_of("sleep") as path:
        if os.spawnlp(os.P_WAIT, "setcap", "setcap", "cap_net_raw+ep", path) != 0:
            pytest.skip("this file system keeps no capabilities")
        dies_although(path, "CapEff:\t0000000000002000", thread)


@as_root
@pytest.mark.parametrize("thread", ("main", "ended"))
def test_init_of_a_pid_namespace(thread: str) -> None:
    """Documented, not wanted: the init ignores the lifeline's signal. PDEATHSIG kills it, if the main thread started
    it."""
    start = "(libc.unshare(0x20000000), Popen(SLEEP))[1]"  # CLONE_NEWPID: of this thread's children
    with programs(thread, start) as (running, children):
        [pid] = children.fds
        assert Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split() == [str(pid), "1"]
        running.kill()
        running.ended()
        assert children.alive(within=DEATH if thread == "main" else LIFE) == ([] if thread == "main" else [pid])


@as_root
def test_the_init_of_a_pid_namespace_is_the_programs_own() -> None:
    """The process that makes a tether, and ends, must not become the init."""
    program = """
import ctypes, os
import orphanguard
assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
pid = os.fork()
if pid == 0:
    os._exit(os.getpid())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python(program, check=True).stdout == "1\n"

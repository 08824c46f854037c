"""No program dies while its parent lives: threads and siblings end, handles are dropped, the parent is stopped."""

from __future__ import annotations

import gc
import os
import signal
import subprocess as stock

import pytest

from orphanguard import subprocess
from tests.support.proc import DEATH, LIFE
from tests.support.programs import FORMS, SIGTERM, programs
from tests.support.witness import THREADS, Watched


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


def test_a_dropped_handle_is_no_death() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    watched = Watched([process.pid])
    with pytest.warns(ResourceWarning, match="still running"):
        del process
        gc.collect()
    subprocess.run(["true"])
    assert len(watched.alive(within=LIFE)) == 1
    watched.kill()
    assert watched.alive(within=DEATH) == []
    watched.close()
    subprocess.run(["true"])  # reaps it, as the standard library's Popen does


def strand_and_slot(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The place of its description."""
    held = process._child.held
    return held.strand, held.slot


def test_a_returncode_that_is_made_up_is_not_a_death() -> None:
    """Setting returncode silences the ResourceWarning. The program lives, and stays guarded."""
    process = subprocess.Popen(["cat"], stdin=stock.PIPE, stdout=stock.PIPE)
    pid = process.pid
    used = strand_and_slot(process)
    process.returncode = 0
    stdin, stdout = process.stdin, process.stdout
    del process
    gc.collect()
    for _ in range(10):  # none of which may get the slot of the program that lives
        with subprocess.Popen(["true"]) as other:
            assert strand_and_slot(other) != used
    stdin.write(b"alive\n")
    stdin.flush()
    assert stdout.readline() == b"alive\n"
    stdin.close()
    stdout.close()
    assert os.waitpid(pid, 0)[1] == 0

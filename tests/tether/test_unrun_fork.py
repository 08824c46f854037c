"""A forked child has not run yet when its parent dies, or when its lifeline is given back.

Such a child has copies of all fds of its parent. There are more cases of the first kind in test_held.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.holders import survivors
from tests.support.kernel import injected, strace
from tests.support.proc import DEATH, LIFE
from tests.support.witness import Watched

HOLD = 500_000  # microseconds


@strace
@pytest.mark.parametrize("holder", ["helper", "process"])
@pytest.mark.parametrize("design", ["tether", "table"])
def test_its_parent_dies(design: str, holder: str) -> None:
    """strace holds the child in the first call that a fork of glibc makes. The control is the design before the
    tether."""
    wrapper = injected(f"set_robust_list:delay_enter={HOLD}:when=1")
    left = survivors(design, holder, "goes on", holds=set(), wrapper=wrapper)
    assert left == [] if design == "tether" else "younger" in left


SLOW = """
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
reader, writer = os.pipe()
handler = ctypes.CFUNCTYPE(None)(lambda: os.read(reader, 1) and None)
register = getattr(libc, "__register_atfork", None) or libc.pthread_atfork
register(None, None, handler, None)  # older than our at-fork handlers
import orphanguard
from orphanguard._core import lifelines
context = orphanguard.get_context("fork")
def start():  # in another thread, so no PDEATHSIG helps
    processes = [context.Process(target=time.sleep, args=(1000,)) for _ in range(2)]
    for process in processes:
        process.start()
        if sys.argv[1] == "given back" and process is processes[0]:
            lifelines.give_back(process._popen.child.held)
    print([process.pid for process in processes], flush=True)
    sys.stdin.readline()
    os.write(writer, b"gg")
    sys.stdin.readline()
threading.Thread(target=start).start()
"""


@pytest.mark.parametrize("how", ["given back", "kept"])
def test_its_lifeline_is_given_back(how: str) -> None:
    """The next child must not get that lifeline: the child that arms itself last would take it from the other."""
    command = [sys.executable, "-c", SLOW, how]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True, bufsize=1) as parent:
        first, second = (Watched([pid]) for pid in json.loads(parent.stdout.readline()))
        parent.stdin.write("go\n")
        assert len(first.alive(within=DEATH if how == "given back" else LIFE)) == (how == "kept")
        assert len(second.alive(within=LIFE)) == 1
        parent.kill()
        assert first.alive(within=DEATH) == second.alive(within=DEATH) == []
        assert ("its start was given up" in parent.stderr.read()) == (how == "given back")
        first.close()
        second.close()

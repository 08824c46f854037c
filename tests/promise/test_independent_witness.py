"""python-prctl, which shares no code with us, reads back in the child what the shim armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

import orphanguard
from tests.support.witness import METHODS

prctl = pytest.importorskip("prctl", reason="python-prctl is not installed (it needs libcap-dev)")
pytestmark = pytest.mark.starts_fork_server


def read_back(queue) -> None:
    queue.put((prctl.get_pdeathsig(), os.getpid()))


def pdeathsig_in_a_child(method: str, in_thread: bool) -> int:
    context = orphanguard.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=read_back, args=(queue,))
    if in_thread:
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
    else:
        process.start()
    signal_number, pid = queue.get()
    assert pid == process.pid
    process.join()
    queue.close()
    armed = "pdeathsig" in process.guard.layers
    assert armed == (signal_number == signal.SIGKILL)
    return signal_number


@pytest.mark.parametrize("method", METHODS)
def test_from_the_main_thread(method: str) -> None:
    assert pdeathsig_in_a_child(method, in_thread=False) == (0 if method == "forkserver" else signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_from_another_thread(method: str) -> None:
    assert pdeathsig_in_a_child(method, in_thread=True) == 0


@pytest.mark.parametrize("hook", ["preexec_fn", "PreexecFn"])
def test_hooks(hook: str) -> None:
    """PDEATHSIG is kept across the exec. The program that reads it has nothing of ours in it."""
    preexec_fn = orphanguard.preexec_fn if hook == "preexec_fn" else orphanguard.PreexecFn()
    program = "import prctl; print(int(prctl.get_pdeathsig()))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=preexec_fn,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) == signal.SIGKILL


def test_nothing_in_the_parent() -> None:
    """The parent rehearses the call before it forks, with the value that is set already."""
    before = prctl.get_pdeathsig()
    process = orphanguard.get_context("fork").Process(target=os.getpid)
    process.start()
    process.join()
    assert prctl.get_pdeathsig() == before

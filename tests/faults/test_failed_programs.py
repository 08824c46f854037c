"""A start of a program that fails raises OSError and leaves no process, zombie, fd or thread."""

from __future__ import annotations

import errno
import os
import signal
import subprocess as standard

import pytest

from orphanguard import subprocess
from orphanguard._core import spawning
from tests.support.actor import run_in
from tests.support.kernel import injected, strace
from tests.support.starts import inventory, with_ever_more_fds
from tests.support.witness import parent

WAYS = {
    "pipes": {"stdin": -1, "stdout": -1, "stderr": -1},
    "preexec_fn": {"preexec_fn": os.getpid},
    "death_signal": {"death_signal": signal.SIGTERM},
    "close_fds=False": {"close_fds": False, "stdout": standard.DEVNULL},
    "user": {"user": os.geteuid()},
    "tree": {"tree": True},
}


@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("way", WAYS)
def test_out_of_fds_at_any_point(way: str, thread: str) -> None:
    """With one fd more at each try, the start fails at one step after the other, until it succeeds."""

    def run() -> None:
        subprocess.run(["true"], **WAYS[way])
        failures, process = with_ever_more_fds(lambda: subprocess.Popen(["cat", "/dev/null"], **WAYS[way]))
        with process:
            assert process.wait() == 0
        done.append(failures)

    done: list[int] = []
    run_in(thread, run)
    assert done
    assert done[0] > 0


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever error the shim reports."""
    subprocess.run(["true"])
    before = inventory()
    for code, error in ((errno.ENOMEM, OSError), (errno.EAGAIN, BlockingIOError), (errno.EPERM, PermissionError)):
        with monkeypatch.context() as patched:

            def fail(*args: object, code: int = code) -> None:
                raise OSError(code, os.strerror(code))

            patched.setattr(spawning, "spawn", fail)
            with pytest.raises(error):
                subprocess.Popen(["true"], stdin=standard.PIPE)
        assert inventory() == before


@strace
@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM", "EPERM"])
def test_the_kernel_refuses_to_clone(error: str) -> None:
    """Want of a resource is an OSError as in the standard library. A refusal is GuardUnavailable."""
    raised = "GuardUnavailable" if error == "EPERM" else {"EAGAIN": "BlockingIOError", "ENOMEM": "OSError"}[error]
    statement = (
        "error = None\n"
        "try: Popen(SLEEP, stdin=PIPE)\n"
        "except OSError as caught: error = [type(caught).__name__, caught.errno]\n"
        "say(children=[], error=error, left=children_of(os.getpid()))"
    )
    refused = injected(f"clone,clone3:error={error}")
    with parent("programs", "main", "guarded", f"exec({statement!r})", wrapper=refused) as running:
        assert running.read() == {"children": [], "error": [raised, getattr(errno, error)], "left": []}

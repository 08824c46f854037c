"""`preexec_fn` and `PreexecFn`: what is refused, and what is said then."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import orphanguard
from tests.support.actor import in_a_thread_that_ends
from tests.support.proc import DEATH, LIFE
from tests.support.witness import Watched, python

SLEEP = ["sleep", "1000"]


@pytest.fixture
def popen():
    started = []

    def popen(*args, **kwargs) -> subprocess.Popen:
        process = subprocess.Popen(*args, **kwargs)
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                stream.close()


def refused(hook, **options) -> tuple[str, subprocess.SubprocessError]:
    """Starts a program with a hook that refuses. The program must not run; the hook speaks on this process's stderr."""
    program = [sys.executable, "-c", "print('it ran')"]
    with pytest.raises(subprocess.SubprocessError, match="preexec_fn") as caught:
        subprocess.run(program, preexec_fn=hook, check=False, **options)
    return "", caught.value


def test_refused_in_another_thread(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.preexec_fn))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err.startswith("orphanguard.preexec_fn: program not started: ")
    assert "orphanguard.PreexecFn()" in err
    assert err.count("\n") == 1


def test_the_refusal_arrives_when_stderr_is_redirected(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.preexec_fn, stderr=subprocess.DEVNULL))
    assert "orphanguard.PreexecFn()" in capfd.readouterr().err


class Derived(orphanguard.PreexecFn):
    def __init__(self) -> None:
        super().__init__()


def makes_it_too_late() -> None:
    orphanguard.PreexecFn()


MISUSED = [orphanguard.PreexecFn, Derived, makes_it_too_late]


@pytest.mark.parametrize("hook", MISUSED, ids=["class", "subclass", "function"])
@pytest.mark.parametrize("thread", ["main", "other"])
def test_without_its_parentheses(hook, thread: str, capfd) -> None:
    """Such a hook would be made in the child, guard nothing, and say nothing."""
    (in_a_thread_that_ends if thread == "other" else lambda call: call())(lambda: refused(hook))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err == (
        "orphanguard.PreexecFn: program not started: the parentheses are missing: "
        "preexec_fn=orphanguard.PreexecFn(), made in the parent.\n"
    )


@pytest.mark.parametrize("loaded", ["orphanguard", "orphanguard, orphanguard.hooks"])
def test_without_its_parentheses_in_asyncio(loaded: str) -> None:
    program = (
        f"import {loaded}, asyncio; asyncio.run(asyncio.create_subprocess_exec('echo', 'it ran', preexec_fn=HOOK))"
    )
    for hook in ("orphanguard.PreexecFn", "lambda: orphanguard.PreexecFn()"):
        command = [sys.executable, "-c", program.replace("HOOK", hook)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEATH, check=False)
        assert "it ran" not in done.stdout
        assert "the parentheses are missing" in done.stderr


def test_a_forked_child_makes_hooks_as_any_process() -> None:
    program = """
import os, orphanguard, subprocess
def child():
    if (pid := os.fork()) == 0:
        os._exit(subprocess.run(["true"], preexec_fn=orphanguard.PreexecFn()).returncode)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print([child() for _ in range(2)])
"""
    done = python(program, check=True)
    assert done.stdout == "[0, 0]\n", done.stderr


def test_die_with_parent_as_a_preexec_fn_in_another_thread(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.die_with_parent))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err.startswith("orphanguard.die_with_parent: program not started: ")


def test_a_hook_is_for_one_child(popen, capfd) -> None:
    hook = orphanguard.PreexecFn()
    popen(SLEEP, preexec_fn=hook)
    refused(hook)
    assert "already used for another child" in capfd.readouterr().err


def test_a_hook_is_for_children_of_the_process_that_made_it(capfd) -> None:
    hook = orphanguard.PreexecFn()
    pid = os.fork()
    if pid == 0:
        try:
            subprocess.run(["true"], preexec_fn=hook, check=False)
        except subprocess.SubprocessError:
            os._exit(5)
        os._exit(6)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert "made in process" in capfd.readouterr().err
    with pytest.raises(RuntimeError):
        hook()
    assert "made in process" in capfd.readouterr().err


def test_a_hook_that_is_dropped_before_its_child_claims_it(capfd) -> None:
    """The child is forked, but has not called the hook yet. Its lifeline is given back, so it must not run."""
    hook = orphanguard.PreexecFn()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_read, 1)
        try:
            hook()
        except RuntimeError:
            os._exit(5)
        os._exit(6)
    del hook
    os.write(go_write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert "given up" in capfd.readouterr().err
    os.close(go_read)
    os.close(go_write)


def test_a_failed_exec_is_reported_as_ever() -> None:
    for hook in (orphanguard.preexec_fn, orphanguard.PreexecFn()):
        with pytest.raises(FileNotFoundError):
            subprocess.Popen(["/nonexistent"], preexec_fn=hook)  # noqa: PLW1509


def test_lifelines_of_hooks_are_given_back(popen) -> None:
    def fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = fds()
    for _ in range(10):
        popen(SLEEP, preexec_fn=orphanguard.PreexecFn()).kill()
        subprocess.run(["true"], preexec_fn=orphanguard.PreexecFn(), check=True)
        orphanguard.PreexecFn()
    assert fds() - before <= 12
    survivor = popen(SLEEP, preexec_fn=orphanguard.PreexecFn())
    orphanguard.PreexecFn()
    watched = Watched([survivor.pid])
    assert watched.alive(within=LIFE) == [survivor.pid]
    watched.close()


def test_preexec_fn_outside_a_fork(capfd) -> None:
    program = "import orphanguard; orphanguard.preexec_fn()"
    result = python(program)
    assert "Use die_with_parent()" in result.stderr
    assert result.returncode == 1
    assert threading.active_count() == 1

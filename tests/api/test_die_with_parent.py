"""`die_with_parent`: what it takes, what it refuses, and where the call could be taken for another use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import orphanguard
from tests.support.proc import DEATH, LIFE
from tests.support.witness import ACTOR, METHODS, Token, parent, python


def test_die_with_parent_refuses_under_a_fork_server() -> None:
    with parent("dying", "forkserver", "main", "orphanguard.die_with_parent") as running:
        answer = running.read()
        running.watch(answer["children"])
        assert answer["error"].startswith("GuardUnavailable")
        assert "forkserver" in answer["error"]


@pytest.mark.starts_fork_server
@pytest.mark.parametrize("method", METHODS)
def test_die_with_parent_in_a_guarded_child_keeps_its_guard(method: str) -> None:
    context = orphanguard.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=report_guards, args=(queue,))
    process.start()
    before, after = queue.get()
    assert before == after == process.guard
    process.join()
    queue.close()


def report_guards(queue) -> None:
    import multiprocessing

    queue.put((multiprocessing.current_process().guard, orphanguard.die_with_parent(signal.SIGTERM)))


def said_of(pid: int, *wrapper: str) -> str:
    program = f"import orphanguard; orphanguard.die_with_parent(parent_pid={pid})"
    command = [*wrapper, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEATH, check=False).stderr.splitlines()[-1]


def test_a_process_further_above_is_not_the_parent() -> None:
    """A wrapper may be between the two. The message does not blame a fork server."""
    said = said_of(os.getpid(), "timeout", "1000")
    assert f"GuardUnavailable: [Errno 22] process {os.getpid()} (" in said
    assert "(timeout): it is further above" in said
    assert f"orphanguard run --parent-pid={os.getpid()}" in said


def test_another_process_is_not_the_parent() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        said = said_of(stranger.pid)
    assert f"process {stranger.pid} (cat) is not the parent of this one, which is {os.getpid()} (" in said
    assert said.endswith("), nor above it")


@pytest.mark.parametrize("sig", [0, -1, 999, 65])
def test_signals_that_do_not_exist(sig: int) -> None:
    with pytest.raises(ValueError, match="no such signal"):
        orphanguard.die_with_parent(sig)


def test_die_with_parent_in_a_child_of_a_child() -> None:
    """A child of multiprocessing calls os.fork(). The parent of that child is the caller, not multiprocessing's
    parent."""
    program = """
import os, orphanguard, multiprocessing
def child():
    if (pid := os.fork()) == 0:
        guard = orphanguard.die_with_parent()
        os._exit(0 if guard.layers[0] == "lifeline" and guard.scope == "process" else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
orphanguard.die_with_parent
for Process in (multiprocessing.get_context("fork").Process, orphanguard.get_context("fork").Process):
    process = Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
"""
    result = python(program, check=True)
    assert result.stdout == "0\n0\n", result.stderr


def said_by(program: str) -> list[str]:
    """The lines that a program prints until it says "end" and is killed. Nobody may be left then."""
    token = Token()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=token.environment
    ) as running:
        lines = []
        for line in running.stdout:
            if line == "end\n":
                break
            lines.append(line.strip())
        running.kill()
        survivors = token.survivors(within=DEATH)
        token.clean_up()
    assert survivors == []
    return lines


START = (
    ACTOR
    + """
import orphanguard
def say(*what): os.write(1, (" ".join(map(str, what)) + "\\n").encode())
"""
)


@pytest.mark.parametrize("thread", ["main", "other"])
def test_as_an_at_fork_hook(thread: str) -> None:
    """The call that forks has not returned when the hook runs, and is not about to execute a program."""
    program = f"""{START}
os.register_at_fork(after_in_child=orphanguard.die_with_parent)
def start():
    if os.fork() == 0:
        say(*orphanguard.die_with_parent().layers)
        say("end")
        signal.pause()
run_in({thread!r}, start)
signal.pause()
"""
    assert said_by(program) == ["lifeline" + (" pdeathsig" if thread == "main" else "")]


def test_beside_a_function_that_forks() -> None:
    """The frame of the function that forks and the frame of the child's function have the same shape and place."""
    program = f"""{START}
def start(): return os.fork()
def child(): return orphanguard.die_with_parent()
def both():
    if start() == 0:
        say(*child().layers)
        orphanguard.PreexecFn()
        say("end")
        signal.pause()
in_a_thread_that_ends(both)
signal.pause()
"""
    assert said_by(program) == ["lifeline"]


def test_a_number_that_is_a_childs_by_now() -> None:
    """A guarded child closes its fds, and its own program's lifeline gets that number. It stays the program's."""
    program = f"""{START}
def child():
    out = os.dup(1)
    os.closerange(3, out), os.closerange(out + 1, 2000)
    program = []
    in_a_thread_that_ends(lambda: program.append(orphanguard.Popen(["sleep", "1000"])))
    guard = orphanguard.die_with_parent()
    say(*guard.layers)
    say("end")
    os.kill(os.getpid(), signal.SIGKILL)
process = orphanguard.get_context("fork").Process(target=child)
in_a_thread_that_ends(process.start)
process.join()
signal.pause()
"""
    assert said_by(program) == ["lifeline"]


def test_twice_in_a_child_of_another_thread() -> None:
    """Its parent has a PDEATHSIG, but of its own: in this child of another thread PDEATHSIG would be an early death."""
    program = f"""{START}
def grandchild():
    if os.fork() == 0:
        orphanguard.die_with_parent()
        say(*orphanguard.die_with_parent().layers)
        while True: signal.pause()
def child():
    in_a_thread_that_ends(grandchild)
    time.sleep({LIFE})
    say(os.waitpid(-1, os.WNOHANG)[0])
    say("end")
    signal.pause()
orphanguard.get_context("fork").Process(target=child).start()
signal.pause()
"""
    assert said_by(program) == ["lifeline", "0"]


@pytest.mark.parametrize(("refused", "armed"), [("", "lifeline"), ("sendmsg", "pdeathsig")], ids=["", "off the tether"])
def test_again_after_it_has_closed_its_fds(refused: str, armed: str) -> None:
    """The tether holds the description of the child. Without a tether it is lost with the fds."""
    program = f"""{START}
import filtered, warnings
warnings.simplefilter("ignore")
def start():
    if os.fork() == 0:
        if {refused!r}: filtered.refuse({refused!r}, 1)
        guard = orphanguard.die_with_parent()
        say("the child closes all its fds" in guard.defeated_by, *guard.layers)
        os.closerange(3, 2000)
        say(*orphanguard.die_with_parent().layers)
        say("end")
        signal.pause()
threading.Thread(target=lambda: (start(), signal.pause()), daemon=True).start()
signal.pause()
"""
    assert said_by(program) == [f"{bool(refused)} lifeline", armed]


def test_with_no_frame_below() -> None:
    program = f"""{START}
import _thread
if os.fork() == 0:
    _thread.start_new_thread(orphanguard.die_with_parent, ())
    from orphanguard._core.guard import current_guard
    while current_guard() is None: time.sleep(0.001)
    say(*current_guard().layers)
    say("end")
signal.pause()
"""
    assert said_by(program) == ["lifeline"]

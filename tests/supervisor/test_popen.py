"""`Popen(tree=)`: real trees below a program that Python starts, and everything that may end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess as standard
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import orphanguard
from orphanguard import GuardUnavailable, subprocess
from tests.support.proc import DEATH, LIFE, state, wait_for
from tests.support.trees import LEAVER, PIDNS, TREES, Started, supervised, tree_of
from tests.support.witness import ACTOR, Token, Watched

PARENT = f"""{ACTOR}
from orphanguard import subprocess
def start():
    global process
    process = subprocess.Popen(["sh", "-c", sys.argv[2]], **eval(sys.argv[3]))
    say(pids=[process.pid, process.command_pid], containment=process.containment)
run_in(sys.argv[1], start)
obey(globals())
"""


class Family(Started):
    """A Python that has started a tree by ``Popen``."""

    def __init__(self, name: str, keywords: str, thread: str = "main") -> None:
        tree = tree_of(name)
        self.token = Token()
        self.parent = standard.Popen(
            [sys.executable, "-c", PARENT, thread, tree.script, keywords],
            env={**self.token.environment, **tree.environment},
            stdin=standard.PIPE,
            stdout=standard.PIPE,
            cwd="/tmp",
        )
        assert self.parent.stdout is not None
        told = json.loads(self.parent.stdout.readline())
        (self.pid, self.command), self.containment = told["pids"], told["containment"]
        wait_for(lambda: len(self.token.holders()) >= tree.size + 1 + (self.containment is not None))


@contextlib.contextmanager
def family(*how: str) -> Iterator[Family]:
    running = Family(*how)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("name", sorted(set(TREES) - {"wide", "deep"}))
def test_the_parent_is_killed(name: str, thread: str) -> None:
    with family(name, "{'grace': 0.1}" if name == "ignores SIGTERM" else "{'tree': True}", thread) as tree:
        assert tree.containment == "subreaper"
        tree.parent.kill()
        assert tree.left(within=DEATH) == []


@pytest.mark.parametrize("name", ["double fork, setsid", "daemon", "make -j8"])
def test_without_tree_they_survive(name: str) -> None:
    with family(name, "{}") as tree:
        tree.parent.kill()
        assert len(tree.left(within=LIFE)) >= 1


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("what", ["os.closerange(3, 2000)", "os.execvp('sleep', ['sleep', '1000'])", "process = None"])
def test_the_parent_is_alive(what: str, thread: str) -> None:
    """The tree lives whatever the parent does to itself: only the parent's pidfd tells the supervisor of its death."""
    with family("ignores SIGTERM", "{'tree': True}", thread) as tree:  # in this tree no process ends by itself
        assert tree.parent.stdin is not None
        tree.parent.stdin.write(f"{what}; print('done', flush=True)\n".encode())
        tree.parent.stdin.flush()
        if "exec" in what:
            wait_for(lambda: os.readlink(f"/proc/{tree.parent.pid}/exe").endswith("/sleep"))
        else:
            assert tree.parent.stdout is not None
            assert tree.parent.stdout.readline() == b"done\n"
        watched = Watched(set(tree.token.holders()) - {tree.parent.pid})
        assert len(watched.alive(within=LIFE)) == 4
        watched.close(kill=False)
        tree.parent.kill()
        assert tree.left(within=DEATH) == []


@pytest.mark.parametrize("victims", ["parent", "supervisor", "parent supervisor"])
@pytest.mark.parametrize("containment", ["cgroup", PIDNS])
def test_in_a_better_containment(containment: str, victims: str, needs_containment) -> None:
    needs_containment(containment)
    with family("double fork, setsid", f"{{'tree': {containment!r}}}") as tree:
        assert tree.containment == containment
        watched = Watched([{"parent": tree.parent.pid, "supervisor": tree.pid}[name] for name in victims.split()])
        watched.kill()
        watched.close(kill=False)
        if containment == "cgroup" and victims == "supervisor":
            assert len(tree.left(within=LIFE)) >= 2  # as with the subreaper: docs/design.md
        elif containment == "pidns" or victims == "parent":  # else it depends on which of the two dies first
            assert tree.left(within=DEATH) == []


@pytest.fixture
def needs_containment():
    def check(containment: str) -> None:
        try:
            subprocess.run(["true"], tree=containment)
        except GuardUnavailable as error:
            pytest.skip(str(error))

    return check


def test_who_is_who() -> None:
    with supervised("exec sleep 1000", 1, tree=True) as (process, token):
        assert sorted(token.holders()) == sorted([process.pid, process.command_pid])
        assert os.readlink(f"/proc/{process.pid}/exe").endswith("orphanguard-run")
        assert os.getpgid(process.command_pid) == os.getpgid(process.pid)
        assert process.containment == "subreaper"
        assert (process.guard.layers, process.guard.signal) == (("supervisor",), signal.SIGKILL)
    with subprocess.Popen(["true"]) as process:
        assert (process.command_pid, process.containment) == (None, None)


@pytest.mark.parametrize("stopped", [None, "supervisor", "command", "all"])
def test_kill_is_for_the_tree(stopped: str | None) -> None:
    with supervised(LEAVER + "sleep 1000; :", 3, tree=True) as (process, token):
        pids = {"supervisor": [process.pid], "command": [process.command_pid], "all": token.holders(), None: []}
        for pid in pids[stopped]:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda pid=pid: state(pid) == "T")
        process.kill()
        assert process.wait(DEATH) == -signal.SIGKILL
        assert token.holders() == []
        process.kill()  # does nothing any more


def test_terminate_is_for_the_tree() -> None:
    script = (
        "trap 'echo parent' TERM; sh -c 'trap \"echo child; exit\" TERM; echo ready; sleep 1000 & wait' & wait; wait"
    )
    with supervised(script, 3, tree=True, stdout=standard.PIPE, text=True) as (process, _):
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert sorted(process.stdout.read().split()) == ["child", "parent"]
        assert process.wait(DEATH) == 0


def test_terminate_with_a_grace() -> None:
    """Processes that ignore SIGTERM are killed after the grace."""
    with supervised("trap '' TERM; " + LEAVER + "echo ready; sleep 1000; :", 3, grace=0.2, stdout=standard.PIPE) as (
        process,
        token,
    ):
        process.stdout.readline()
        process.terminate()
        assert process.wait(DEATH) == -signal.SIGKILL
        assert token.holders() == []


def test_a_grace_is_not_waited_out() -> None:
    script = "trap 'exit 7' TERM; sleep 1000 & echo ready; wait"
    with supervised(script, 2, grace=1000, stdout=standard.PIPE) as (process, token):
        process.stdout.readline()
        # Until it executes sleep it is a shell, which may lose a signal while it resets its traps.
        wait_for(lambda: "sleep\n" in [Path(f"/proc/{pid}/comm").read_text() for pid in token.holders()])
        process.terminate()
        assert process.wait(DEATH) == 7


def test_another_death_signal() -> None:
    script = "trap 'echo int; exit 0' INT; echo ready; sleep 1000 & wait"
    keywords = {"death_signal": signal.SIGINT, "grace": 0.2, "stdout": standard.PIPE, "text": True}
    with supervised(script, 2, **keywords) as (process, _):
        process.stdout.readline()
        process.terminate()
        assert process.stdout.read() == "int\n"


def test_send_signal_is_for_the_command() -> None:
    script = "trap 'echo USR1' USR1; " + LEAVER + "echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(["sh", "-c", script], tree=True, stdout=standard.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(0)
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "USR1\n"
        for number in (-1, 65, 999):
            with pytest.raises(OSError) as caught:
                process.send_signal(number)
            assert caught.value.errno == errno.EINVAL
        process.send_signal(signal.SIGKILL)
        assert process.wait(DEATH) == -signal.SIGKILL


def test_a_signal_leaves_a_stopped_command_stopped() -> None:
    """The signal is pending, as without a supervisor."""
    with supervised("sleep 1000; :", 2, tree=True) as (process, _):
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: state(process.command_pid) == state(process.pid) == "T")
        process.send_signal(signal.SIGTERM)
        watched = Watched([process.pid])
        assert watched.alive(within=LIFE) == [process.pid]
        watched.close(kill=False)
        assert state(process.command_pid) == "T"
        process.send_signal(signal.SIGCONT)
        assert process.wait(DEATH) == -signal.SIGTERM


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$", "kill -TERM $$"])
def test_the_tree_ends_with_the_command(end: str) -> None:
    token = Token()
    keywords = {"capture_output": True, "env": token.environment}
    done = subprocess.run(["sh", "-c", f"echo out; echo err >&2; {LEAVER} {end}"], tree=True, **keywords)
    plain = standard.run(["sh", "-c", f"echo out; echo err >&2; {end}"], **keywords, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert token.holders() == []


def test_run_ends_the_tree_when_the_time_is_over() -> None:
    token = Token()
    with pytest.raises(standard.TimeoutExpired):
        subprocess.run(["sh", "-c", LEAVER + "sleep 1000; :"], tree=True, timeout=0.2, env=token.environment)
    assert token.holders() == []


def test_communicate() -> None:
    with subprocess.Popen(["cat"], tree=True, stdin=standard.PIPE, stdout=standard.PIPE, text=True) as process:
        assert process.communicate("x" * 100_000) == ("x" * 100_000, None)


def test_asyncio() -> None:
    token = Token()

    async def go() -> None:
        keywords = {"stdout": standard.PIPE, "env": token.environment}
        process = await orphanguard.create_subprocess_shell(LEAVER + "echo hello; sleep 1000", tree=True, **keywords)
        assert isinstance(process, asyncio.subprocess.Process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"hello\n"
        assert process.containment == "subreaper"
        assert process.command_pid in token.holders()
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        assert token.holders() == []
        process = await orphanguard.create_subprocess_exec("sh", "-c", "exit 3", grace=1)
        assert await process.wait() == 3
        with pytest.raises(FileNotFoundError):
            await orphanguard.create_subprocess_exec("nonexistent", tree=True)

    asyncio.run(go())


def test_a_wait_sleeps() -> None:
    """Neither the parent nor the supervisor polls: the supervisor does not run at all."""
    with (
        supervised("exec sleep 1000", 1, tree=True) as (process, _),
        open(f"/proc/{process.pid}/schedstat") as schedstat,
    ):
        wait_for(lambda: state(process.pid) == "S")
        before = schedstat.read()
        with pytest.raises(standard.TimeoutExpired):
            process.wait(LIFE)
        schedstat.seek(0)
        assert schedstat.read() == before

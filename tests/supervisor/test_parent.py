"""A supervisor watches the process that started it, and not the process that has adopted it since."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard
from orphanguard._core import pidfds
from tests.support.kernel import injected, strace
from tests.support.proc import DEATH, LIFE, children_of, cmdline, wait_for
from tests.support.trees import RUN
from tests.support.witness import ACTORS, Token, marked

# strace holds the supervisor at a call that comes before its look at its parent, until the parent is gone. It holds for
# longer the younger program, which keeps the lifeline's write end open.
HELD = ("signalfd4:delay_enter=1000000:when=1", "close_range:delay_enter=2500000:when=1")
SUBREAPER = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"


def survivors(*arguments: str, within: float) -> list[int]:
    token = Token()
    actor = [sys.executable, str(ACTORS / "adopted.py"), *arguments]
    tracer = subprocess.Popen([sys.executable, "-c", SUBREAPER, *injected(*HELD), *actor], env=token.environment)
    try:
        # strace ends with the last process that it traces.
        tracer.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return token.holders()
    finally:
        token.clean_up()
        tracer.kill()
        tracer.wait()
    return []


@strace
@pytest.mark.parametrize("how", ["Popen", "fork"])
def test_the_parent_is_gone_before_its_supervisor_looks(how: str) -> None:
    assert survivors(how, within=DEATH) == []


@strace
def test_unnamed_it_takes_its_adopter_for_its_parent() -> None:
    """The control: a supervisor that is not told its parent watches its adopter, and the tree survives."""
    assert survivors("Popen", "unnamed", within=6) != []


def watched_by(supervisor: int) -> int:
    """The pid of the process that the supervisor has been given a pidfd of."""
    words = Path(f"/proc/{supervisor}/cmdline").read_text().split("\0")
    [fd] = [word.partition("=")[2] for word in words if word.startswith("--parent-fd=")]
    lines = Path(f"/proc/{supervisor}/fdinfo/{fd}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pid:")))


@pytest.mark.starts_fork_server
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_workers_supervisor_is_told(method: str) -> None:
    process = orphanguard.get_context(method).Process(target=sys.stdin.read, tree=True)
    process.start()
    assert watched_by(process.pid) == os.getpid()
    process.kill()
    process.join()


@pytest.mark.parametrize("options", [{}, {"preexec_fn": os.getpid}, {"close_fds": False}, {"user": os.getuid()}])
def test_a_programs_supervisor_is_told(options: dict) -> None:
    with orphanguard.Popen(["cat"], stdin=-1, tree=True, **options) as program:
        assert watched_by(program.pid) == os.getpid()


def test_asyncio() -> None:
    async def main() -> None:
        program = await orphanguard.create_subprocess_exec("cat", stdin=-1, tree=True)
        assert watched_by(program.pid) == os.getpid()
        program.stdin.close()
        await program.wait()

    asyncio.run(main())


@pytest.mark.parametrize("option", ["--parent-fd", "--parent-pid"])
def test_a_parent_that_is_gone(option: str) -> None:
    gone = subprocess.Popen(["true"])
    pidfd = pidfds.open(gone.pid)
    gone.wait()
    value = pidfd if option == "--parent-fd" else gone.pid
    done = subprocess.run(
        [RUN, f"{option}={value}", "echo", "it ran"], capture_output=True, text=True, pass_fds=[pidfd], check=False
    )
    os.close(pidfd)
    assert (done.returncode, done.stdout) == (125, "")
    assert "is gone: nothing started" in done.stderr


# --- --parent-pid: any process above

SUBSHELLS = {
    "plain": '"$@"',
    "( )": '("$@"; :)',
    "while read": 'echo a | while read -r _; do "$@"; done',
    "in the background": 'f() { "$@"; :; }; f "$@" & wait',
    "timeout": 'timeout 1000 "$@"',
    "sh -c": 'sh -c \'"$@"; :\' sh "$@"',
}


@pytest.mark.parametrize("where", SUBSHELLS)
def test_in_a_subshell(where: str) -> None:
    """In a subshell $$ still is the pid of the script. Its death ends the tree."""
    script = SUBSHELLS[where].replace('"$@"', '"$1" --parent-pid=$$ -- sleep 1000', 1) if where == "plain" else None
    script = script or f'set -- "$1" --parent-pid=$$ -- sleep 1000; {SUBSHELLS[where]}; :'
    with marked("sh", "-c", script + "; :", "sh", RUN) as (parent, token):
        wait_for(lambda: running(token, "sleep"))
        parent.kill()
        parent.wait()
        # A shell in between may live on.
        wait_for(lambda: not running(token, RUN) and not running(token, "sleep"))


def test_the_one_in_between_may_end() -> None:
    """The shell in between was not named by --parent-pid, so its end is not the parent's."""
    script = 'me=$$; sh -c \'"$1" --parent-pid=$2 -- sleep 1000 & wait\' sh "$1" $me & wait; read forever'
    with marked("sh", "-c", script, "sh", RUN, stdin=subprocess.PIPE) as (parent, token):
        wait_for(lambda: running(token, "sleep"))
        [supervisor] = running(token, RUN)
        [between] = set(children_of(parent.pid))
        assert supervisor in children_of(between)
        os.kill(between, 9)
        assert supervisor in token.survivors(within=LIFE)
        parent.kill()
        parent.wait()
        assert token.survivors(within=DEATH) == []


@pytest.mark.parametrize("shell", ["exec ", ""], ids=["exec", "last command"])
def test_a_shell_that_becomes_the_supervisor(shell: str) -> None:
    """Then $$ is the pid of the supervisor itself, which must not wait for its own end."""
    script = f'{shell}"$0" --parent-pid=$$ -- echo "it ran"'
    done = subprocess.run(["bash", "-c", script, RUN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "is this one" in done.stderr


def test_a_file_descriptor_that_is_no_pidfd() -> None:
    done = subprocess.run([RUN, "--parent-fd=0", "echo", "it ran"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "is no pidfd" in done.stderr


def test_a_process_that_is_not_above() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        done = subprocess.run(
            [RUN, f"--parent-pid={stranger.pid}", "echo", "it ran"], capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (125, "")
    assert (
        f"--parent-pid: process {stranger.pid} (cat) is not above this one, whose parent is {os.getpid()}"
        in done.stderr
    )


def running(token: Token, program: str) -> list[int]:
    """The processes that execute it, and not a shell that only names it."""
    return [pid for pid in token.holders() if (cmdline(pid) or "").split("\0")[0] == program]

"""What a supervisor changes for the command, as README says under "What `tree=` changes".

Each test says what happens today, not what should happen. If one of them is mended, its line of README changes.
"""

from __future__ import annotations

import os
import signal
import subprocess as standard
import sys
from pathlib import Path
from typing import Any

import pytest

import orphanguard
from orphanguard import GuardUnavailable
from tests.support.proc import DEATH, LIFE, state, wait_for
from tests.support.witness import Token, marked

TREES = [{"tree": True}, {"tree": "cgroup"}, {"tree": "pidns"}]


def python(program: str, **how: Any) -> Any:
    """A command that runs ``program``, under ``Popen(**how)``; skips the test where that containment is unavailable."""
    guarded = how.pop("guarded", True)
    popen = orphanguard.Popen if guarded else standard.Popen
    try:
        return popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True, **how)
    except GuardUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("how", TREES, ids=str)
def test_getppid_is_the_supervisor(how: dict[str, Any]) -> None:
    program = python("import os; print(os.getppid())", **how)
    told = int(program.communicate(timeout=DEATH)[0])
    assert told == (0 if how["tree"] == "pidns" else program.pid)


def test_getppid_is_the_parent_without_tree() -> None:
    program = python("import os; print(os.getppid())")
    assert int(program.communicate(timeout=DEATH)[0]) == os.getpid()


SIGNALS_ITS_PARENT = """
import os, signal
signal.signal(signal.SIGUSR2, signal.SIG_DFL)
os.kill(os.getppid(), signal.SIGUSR2)
input()
"""


@pytest.mark.parametrize("how", [{"guarded": False}, {}, {"tree": True}, {"tree": "cgroup"}], ids=str)
def test_a_signal_to_the_parent_comes_back(how: dict[str, Any]) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: got.append(number))
    try:
        program = python(SIGNALS_ITS_PARENT, **how)
        if "tree" in how:
            program.wait(timeout=DEATH)
        else:
            wait_for(lambda: got)
            program.stdin.write("\n")
        program.communicate(timeout=DEATH)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (program.returncode, len(got)) == ((-signal.SIGUSR2, 0) if "tree" in how else (0, 1))


def test_in_a_pid_namespace_the_parent_is_the_whole_group() -> None:
    """The program leads the group here. Without the new session the group would be the test runner's own."""
    group = """
import os, signal, time
go = os.pipe()
sibling = os.fork()
if not sibling:
    os.write(go[1], b"x")
    time.sleep(1000)
os.read(go[0], 1)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
os.kill(os.getppid(), signal.SIGUSR2)
print(os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]))
"""
    program = python(group, tree="pidns", start_new_session=True)
    assert int(program.communicate(timeout=DEATH)[0]) == -signal.SIGUSR2


COUNTS = """
import os, signal
signal.signal(signal.SIGUSR2, lambda *_: os.write(1, b"told\\n"))
print("up", flush=True)
input()
"""


@pytest.mark.parametrize(
    ("to", "how", "times"), [("group", {"tree": True}, 2), ("it", {"tree": True}, 1), ("group", {}, 1)]
)
def test_a_signal_to_the_group_may_come_twice(to: str, how: dict[str, Any], times: int) -> None:
    """The sender signals the command, and the supervisor passes the signal on. Two signals become one if the first is
    still pending when the second comes. So the supervisor is stopped here until the command has handled the first."""
    program = python(COUNTS, start_new_session=True, **how)
    assert program.stdout.readline() == "up\n"
    if to == "it":
        program.send_signal(signal.SIGUSR2)
        assert program.stdout.readline() == "told\n"
    else:
        if how:
            os.kill(program.pid, signal.SIGSTOP)
            wait_for(lambda: state(program.pid) == "T")
        os.killpg(program.pid, signal.SIGUSR2)
        assert program.stdout.readline() == "told\n"
        os.kill(program.pid, signal.SIGCONT)
    if times == 2:
        assert program.stdout.readline() == "told\n"
    program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=DEATH) == -signal.SIGTERM
    assert program.communicate()[0] == ""


@pytest.mark.parametrize("how", ["killpg", "kill"])
def test_killpg_leaves_who_has_left_the_group(how: str) -> None:
    token = Token()
    script = ["sh", "-c", "setsid sleep 1000 & echo up; sleep 1000; :"]
    program = orphanguard.Popen(script, tree=True, start_new_session=True, env=token.environment, stdout=-1, text=True)
    try:
        assert program.stdout.readline() == "up\n"
        wait_for(lambda: any(Path(f"/proc/{pid}/stat").read_text().split()[5] == str(pid) for pid in asleep(token)))
        program.kill() if how == "kill" else os.killpg(program.pid, signal.SIGKILL)
        program.wait(timeout=DEATH)
        assert len(token.survivors(LIFE)) == (0 if how == "kill" else 1)
    finally:
        token.clean_up()
        program.communicate()


def asleep(token: Token) -> list[int]:
    return [pid for pid in token.holders() if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]


SHARED = """
import os, signal, sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=4096)
print(memory.name, flush=True)
input()
"""


@pytest.mark.parametrize("how", [*TREES, {"grace": DEATH}], ids=str)
def test_shared_memory_stays_without_a_grace(how: dict[str, Any]) -> None:
    program = python(SHARED, stderr=standard.DEVNULL, **how)
    path = Path("/dev/shm", program.stdout.readline().strip())
    try:
        os.kill(program.command_pid, signal.SIGKILL)
        program.communicate(timeout=DEATH)
        assert path.exists() == ("grace" not in how)
    finally:
        path.unlink(missing_ok=True)


ENDS_ITS_WORKERS = """
import subprocess, sys, time
workers = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
print("up", flush=True)
sys.stdin.read()
time.sleep(0.2)  # the end of stdin and the lifeline's signal come at the same time: some programs see the former
for worker in workers:
    worker.kill()
"""
STARTS_IT = """
import subprocess, sys, orphanguard
popen = {popen}
side = popen([sys.executable, "-c", {side!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **{how})
print(side.stdout.readline(), end="", flush=True)
input()
"""


@pytest.mark.parametrize(
    ("popen", "how", "left"),
    [("subprocess.Popen", {}, 0), ("orphanguard.Popen", {}, 2), ("orphanguard.Popen", {"tree": True}, 0)],
    ids=str,
)
def test_a_side_process_that_ends_its_own_workers(popen: str, how: dict[str, Any], left: int) -> None:
    program = STARTS_IT.format(popen=popen, side=ENDS_ITS_WORKERS, how=how)
    with marked(sys.executable, "-c", program, stdin=-1, stdout=-1) as (parent, token):
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        parent.wait()
        assert len(token.survivors(LIFE if left else DEATH)) == left

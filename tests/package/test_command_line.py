"""`orphanguard run` and `python -m orphanguard run`: Python is gone by the time the command runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.trees import RUN
from tests.support.witness import Token, marked

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -m": [sys.executable, "-m", "orphanguard", "run"],
    "orphanguard": [str(BIN / "orphanguard"), "run"],
    "orphanguard-run": [str(BIN / "orphanguard-run")],
}


@pytest.fixture(params=COMMANDS)
def command(request) -> list[str]:
    if not Path(COMMANDS[request.param][0]).exists():
        pytest.skip(f"no {request.param} beside this Python")
    return COMMANDS[request.param]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEATH, check=False)


def test_python_is_gone(command: list[str]) -> None:
    process = subprocess.Popen(
        [*command, "sh", "-c", "readlink /proc/$PPID/exe; echo $PPID; exit 5"], stdout=-1, text=True
    )
    out, _ = process.communicate(timeout=DEATH)
    program, pid = out.splitlines()
    assert Path(program).name == "orphanguard-run"
    assert int(pid) == process.pid
    assert process.returncode == 5


def test_the_same_options(command: list[str]) -> None:
    assert run(*command, "--help").stdout == run(RUN, "--help").stdout
    assert run(*command, "-h").stdout == run(RUN, "--help").stdout
    for version in ("--version", "-V"):
        assert run(*command, version).stdout == f"orphanguard-run {orphanguard.__version__}\n"
    assert run(*command, "--bad").returncode == 125


def test_signals_that_python_ignores_are_not_ignored(command: list[str]) -> None:
    assert run(*command, "sh", "-c", "kill -PIPE $$").returncode == -13


def test_the_tree_dies_with_the_parent(command: list[str]) -> None:
    tree = ["sh", "-c", "setsid sleep 1000 & sleep 1000; :"]
    with marked("sh", "-c", '"$@" & wait', "sh", *command, *tree) as (parent, token):
        wait_for(lambda: len(token.holders()) == 5)
        parent.kill()
        parent.wait()
        assert token.survivors(within=DEATH) == []


def test_other_commands() -> None:
    python = [sys.executable, "-m", "orphanguard"]
    for version in ("--version", "-V", "version"):
        assert run(*python, version).stdout == f"orphanguard {orphanguard.__version__}\n"
    for help in ("--help", "-h", "help"):
        assert "orphanguard run [OPTIONS]" in run(*python, help).stdout
    assert run(*python, "doctor", "-h").stdout.startswith("Usage: orphanguard doctor")
    nothing, unknown = run(*python), run(*python, "walk")
    assert (nothing.returncode, nothing.stdout) == (unknown.returncode, unknown.stdout) == (125, "")
    assert unknown.stderr == "orphanguard: no such command: 'walk'; see --help\n"


def test_a_parent_that_is_gone_before(command: list[str]) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = run(*command, f"--parent-pid={gone.pid}", "echo", "it ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert run(*command, f"--parent-pid={os.getpid()}", "echo", "it ran").stdout == "it ran\n"


@pytest.mark.parametrize(("option", "left"), [("", 2), ("--parent-pid=$$", 0)])
def test_a_caller_that_ends_at_once(option: str, left: int) -> None:
    """Documented, not wanted: the caller ends while Python starts. Then only --parent-pid tells who the parent was."""
    token = Token()
    script = f'"$@" {option} -- sleep 1000 &'
    python = COMMANDS["python -m"]
    subprocess.run(["sh", "-c", script, "sh", *python], env=token.environment, stderr=subprocess.DEVNULL, check=True)
    try:
        if left:
            wait_for(lambda: len(token.holders()) == left)  # the supervisor, and sleep
        assert len(token.survivors(within=LIFE if left else DEATH)) == left
    finally:
        token.clean_up()

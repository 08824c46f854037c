"""What the command inherits through `orphanguard-run`: fds, ids, signals, its environment, the ends of files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest

from tests.support.proc import DEATH, LIFE, state, wait_for
from tests.support.supervisor import run, running
from tests.support.trees import QUOTED_RUN, RUN
from tests.support.witness import Watched


def report_of(*wrapper: str, **options) -> dict[str, str]:
    """What a process sees of its surroundings, below ``wrapper``."""
    program = """
import json, os, signal
fds = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(100) if os.path.islink(f"/proc/self/fd/{fd}")}
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps(dict(fds=fds, ids=[os.getsid(0), os.getpgrp()], cwd=os.getcwd(), environ=dict(os.environ),
    **{name: status[name] for name in ("SigBlk", "SigIgn", "SigPnd", "Groups", "CapEff")})))
"""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=DEATH,
        **options,
    )
    found = json.loads(done.stdout)
    found["fds"]["1"] = "the pipe"
    return found


@pytest.mark.parametrize("setup", ["", "trap '' HUP CHLD PIPE INT;", "exec <&- 2>&-;", "ulimit -n 100;"])
def test_the_command_inherits_what_it_would(setup: str) -> None:
    read, write = os.pipe()
    options = {"pass_fds": [read, write], "stdin": subprocess.DEVNULL}
    shell = ["sh", "-c", setup + '"$@"; exit $?', "sh"]
    assert report_of(*shell, RUN, **options) == report_of(*shell, "env", **options)
    os.close(read)
    os.close(write)


def test_ends_of_files_arrive_as_without_it() -> None:
    """The command closes its output and lives on. The supervisor must not keep it open."""
    read, write = os.pipe()
    script = f"echo up; exec sleep 1000 >&- 2>&- <&- {write}>&-"
    with running("bash", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[write]) as (
        process,
        command,
    ):
        os.close(write)
        assert process.stdout.read() == b"up\n"
        assert os.read(read, 1) == b""
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"x")
        wait_for(lambda: state(command) == "S")
    os.close(read)


def test_stderr_that_is_a_pipe_ends_too() -> None:
    command = ["--verbose", "sh", "-c", "exec sleep 1000 2>&-"]
    with running(*command, stderr=subprocess.PIPE) as (process, _), process.stderr as stream:
        assert stream.read().endswith(b"containment subreaper\n")


def test_nobody_reads_the_status() -> None:
    """The status pipe is full, or has no reader: the supervisor neither waits nor dies."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write, b"x" * 4096):
            pass
    os.set_blocking(write, True)
    assert run(f"--status-fd={write}", "sh", "-c", "exit 3", pass_fds=[write]).returncode == 3
    os.close(read)
    assert run(f"--status-fd={write}", "sh", "-c", "exit 4", pass_fds=[write]).returncode == 4
    os.close(write)


def test_children_of_whoever_executed_it_are_left_alone() -> None:
    script = f"sleep 1000 >&- 2>&- & echo $!; exec {QUOTED_RUN} echo ran"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    watched = Watched([int(done.stdout)])
    assert len(watched.alive(within=LIFE)) == 1
    watched.close()
    assert done.returncode == 125
    assert "has children already" in done.stderr

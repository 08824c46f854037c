"""Signals and orders through `orphanguard-run`: passed on, stopped and continued."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.proc import DEATH, LIFE, executable, state, wait_for
from tests.support.supervisor import MODES, SAY, running
from tests.support.trees import QUOTED_RUN, RUN
from tests.support.witness import Watched, marked


def read_until(fd: int, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        assert select.select([fd], [], [], DEATH)[0], got
        got += os.read(fd, 1)
    return got


@MODES
def test_signals_are_passed_on(mode: str) -> None:
    with running(f"--tree={mode}", sys.executable, "-c", SAY, stdout=subprocess.PIPE) as (process, _):
        out = process.stdout.fileno()
        read_until(out, b"up ")
        for number in (1, 2, 3, 10, 12, 18, 28, 34, 64):
            process.send_signal(number)
            assert read_until(out, b" ") == b"%d " % number
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"15 "
        assert process.wait(timeout=DEATH) == 3


@MODES
def test_orders(mode: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [f"--tree={mode}", f"--control-fd={theirs.fileno()}", sys.executable, "-c", SAY]
        with running(*arguments, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as (process, _):
            out = process.stdout.fileno()
            read_until(out, b"up ")
            ours.send(bytes([10, 128 + 12]))
            assert sorted(read_until(out, b" ") + read_until(out, b" ")) == sorted(b"10 12 ")
            ours.send(bytes([128 + 9]))
            assert process.wait(timeout=DEATH) == -9


def test_told_to_end_it_gives_the_grace() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = ["--grace=1000s", f"--control-fd={theirs.fileno()}", sys.executable, "-c", SAY]
        with running(*arguments, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as (process, _):
            read_until(process.stdout.fileno(), b"up ")
            ours.send(b"\0")
            assert process.wait(timeout=DEATH) == 3
            assert b"15 " in process.stdout.read()


def test_the_end_of_the_control_fd_is_no_order() -> None:
    ours, theirs = socket.socketpair()
    with running(f"--control-fd={theirs.fileno()}", "sleep", "1000", pass_fds=[theirs.fileno()]) as (process, command):
        ours.close()
        theirs.close()
        watched = Watched([process.pid, command])
        assert len(watched.alive(within=LIFE)) == 2
        watched.close(kill=False)


@MODES
@pytest.mark.parametrize("sig", [signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN])
def test_it_stops_and_continues_with_the_command(mode: str, sig: signal.Signals) -> None:
    # The group has a parent in the session. In an orphaned process group SIGTSTP stops nobody.
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        os.kill(command, sig)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == sig
        assert state(command) == "T"
        process.send_signal(signal.SIGCONT)
        os.waitpid(process.pid, os.WCONTINUED)
        wait_for(lambda: state(command) == "S")
        wait_for(lambda: state(process.pid) == "S")
        os.kill(command, signal.SIGTERM)
        assert process.wait(timeout=DEATH) == -15


@MODES
def test_the_command_is_killed_while_both_are_stopped(mode: str) -> None:
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        os.kill(command, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        os.kill(command, signal.SIGKILL)
        assert process.wait(timeout=DEATH) == -9


@MODES
@pytest.mark.parametrize("whom", ["the group", "the supervisor"])
def test_stopped_and_continued_in_quick_succession(mode: str, whom: str) -> None:
    """Neither process stays stopped, however the stops and the SIGCONTs are interleaved."""
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        for _ in range(100):
            os.kill(command, signal.SIGSTOP)
            if whom == "the group":
                os.killpg(process.pid, signal.SIGCONT)
            else:
                os.kill(process.pid, signal.SIGCONT)
        wait_for(lambda: (state(command), state(process.pid)) == ("S", "S"))
        os.kill(command, signal.SIGKILL)
        assert process.wait(timeout=DEATH) == -9


@MODES
def test_a_stopped_supervisor_wakes_for_the_parents_death(mode: str) -> None:
    with marked("sh", "-c", f"{QUOTED_RUN} --tree={mode} sleep 1000 & wait") as (parent, token):
        supervisor = wait_for(lambda: [pid for pid in token.holders() if executable(pid) == RUN])[0]
        wait_for(lambda: len(token.holders()) >= 3)
        os.kill(supervisor, signal.SIGSTOP)
        wait_for(lambda: state(supervisor) == "T")
        parent.kill()
        parent.wait()
        assert token.survivors(within=DEATH) == []

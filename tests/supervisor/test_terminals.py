"""`orphanguard-run` on a terminal: Ctrl-C, job control, hang-up. Each test runs without the supervisor too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
from pathlib import Path

import pytest

from tests.support.proc import DEATH, wait_for
from tests.support.supervisor import SAY
from tests.support.trees import QUOTED_RUN, RUN
from tests.support.witness import Token


class Terminal:
    """A pseudo-terminal with a program as its session's leader."""

    def __init__(self, *command: str) -> None:
        self.token = Token()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**self.token.environment, "PS1": "$ ", "TERM": "dumb"})
        self.text = b""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> bytes:
        deadline = DEATH
        while text.encode() not in self.text:
            assert select.select([self.fd], [], [], deadline)[0], f"no {text!r} in {self.text!r}"
            try:
                got = os.read(self.fd, 4096)
            except OSError:
                got = b""
            assert got, f"no {text!r} in {self.text!r}"
            self.text += got
        before, _, self.text = self.text.partition(text.encode())
        return before

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        while self.token.holders():
            self.token.clean_up()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@pytest.fixture(params=["", QUOTED_RUN], ids=["without", "with"])
def wrapped(request) -> str:
    """Each test runs without the supervisor too, and must go the same way."""
    return request.param


@pytest.fixture
def terminal():
    opened = []

    def terminal(*command: str) -> Terminal:
        opened.append(Terminal(*command))
        return opened[-1]

    yield terminal
    for each in opened:
        each.close()


def test_ctrl_c_arrives_once(terminal, wrapped: str) -> None:
    shell = terminal("sh", "-c", f'trap : INT QUIT; {wrapped} "$0" -c "$1"; :', sys.executable, SAY)
    shell.expect("up ")
    shell.type("\x03")
    shell.expect("2 ")
    shell.type("\x1c")
    assert b"2 " not in shell.expect("3 ")
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    assert b"3 " not in shell.expect("28 ")


def test_ctrl_c_ends_a_loop_of_the_shell(terminal, wrapped: str) -> None:
    shell = terminal("bash", "-c", f"for i in 1 2 3; do {wrapped} sh -c 'echo up; exec sleep 1000'; done; echo looped")
    shell.expect("up")
    shell.type("\x03")
    wait_for(lambda: os.waitpid(shell.pid, os.WNOHANG)[0])
    wait_for(lambda: not shell.token.holders())


def test_job_control(terminal, wrapped: str) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} sh -c 'echo u''p; read line; echo \"got $line\"; sleep 0.1; exit 5'\n")
    shell.expect("up\r\n")
    shell.type("\x1a")  # Ctrl-Z
    shell.expect("Stopped")
    shell.expect("$ ")
    shell.type("jobs\n")
    shell.expect("Stopped")
    shell.type("bg\n")  # in the background it reads from the terminal, and is stopped again
    shell.expect("&")
    wait_for(lambda: shell.type("jobs; echo e''nd\n") or b"Stopped" in shell.expect("end\r\n"))
    shell.type("fg\n")
    shell.expect("read line")
    shell.type("hello\n")
    shell.expect("got hello")
    shell.type("echo status $?\n")
    shell.expect("status 5")


def test_a_pipeline_keeps_the_terminal(terminal, wrapped: str) -> None:
    """The pager reads the terminal, which belongs to the group that both are in."""
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} echo in''put | sh -c 'cat; read line </dev/tty; echo got $line'\n")
    shell.expect("input")
    shell.type("answer\n")
    shell.expect("got answer")


def test_the_terminal_hangs_up(terminal, wrapped: str) -> None:
    """Without the supervisor the command would be the session's leader, and only the leader gets SIGHUP."""
    program = "trap 'echo hung up >\"$0\"; exit' HUP; echo up; while :; do sleep 0.05; done"
    file = f"/tmp/orphanguard-hup-{os.getpid()}"
    session = terminal(*([RUN] if wrapped else []), "sh", "-c", program, file)
    try:
        session.expect("up")
        os.close(session.fd)
        wait_for(lambda: Path(file).exists() and Path(file).read_text() == "hung up\n")
    finally:
        Path(file).unlink(missing_ok=True)


def test_an_interactive_shell_below(terminal, wrapped: str) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} bash --norc -i\n")
    shell.type("echo in''ner\n")
    shell.expect("inner\r\n")
    shell.type("sleep 1000\n")
    shell.expect("sleep 1000")
    wait_for(lambda: any(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in shell.token.holders()))
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("exit 6\n")
    shell.expect("There are stopped jobs.")
    shell.type("exit 6\n")
    shell.type("echo status $?\n")
    shell.expect("status 6")

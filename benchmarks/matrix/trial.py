"""One parent, its children, and when each of them dies.

The trial starts the parent, learns from datagrams who the children are, and sees each death by pidfd, in one poll(). It
needs the runner to be a child subreaper (processes.py), so that no orphan gets out of sight.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Container
from pathlib import Path

from ..common.host import ROOT
from ..common.processes import command_of, descendants, end_all, state_of
from .child import KINDS, NOBODY, SETUID, SOCKET

READY = 20.0  # seconds until all must be up
SETTLED = 0.1  # seconds that all have been up when the fault comes
STRAYS = 0.2  # seconds that other processes of a strategy have to end, after the children
SO_PASSCRED, SCM_CREDENTIALS = 16, 2

#: Runs a program as nobody, who can still read this checkout and its Python.
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
    "--",
]

#: Processes of multiprocessing itself. They end when they find their owner gone; the tracker is meant to be the last.
HELPERS = "multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend.resource_tracker"

_numbers = itertools.count()


class Failed(Exception):
    """The strategy did not get its children up, or the fault could not be done."""


class Refused(Failed):
    """The strategy said no: nothing runs, and the caller knows."""


def wait_for(what: Callable[[], object], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise Failed(failure)
        time.sleep(0.001)


def _commands(known: Container[int] = ()) -> list[str]:
    """The command lines of processes below us that are alive, not known, and not `HELPERS`, which may end late."""
    commands = [command_of(pid) for pid in descendants("self") if pid not in known]
    return [command for command in commands if command and not any(word in command for word in HELPERS)]


class Watched:
    """A process, by a pidfd. A zombie is dead: its pidfd is readable."""

    def __init__(self, pid: int, role: str) -> None:
        self.pid = pid
        self.role = role
        self.pidfd = os.pidfd_open(pid)
        self.died: float | None = None  #: monotonic

    def send(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)


class Trial:
    """A trial is a ``with`` block, whose end ends all that is left."""

    def __init__(self, strategy: str, kind: str, options: tuple[str, ...] = (), setuid_program: str = "") -> None:
        self.kind = KINDS[kind]
        self.token = f"orphanguard-bench-{os.getpid()}-{next(_numbers)}"
        self.members: list[Watched] = []  #: the children, and what they started
        self.said: list[str] = []
        self.lost = 0  #: members that were dead before they could be looked at
        self.unarmed: bool | None = (
            None  #: whether the child that was held as it started was not armed; None: no child was held
        )
        self.strays: list[str] = []
        self.helper = ""  #: a word of the command line of the process between parent and child
        self.stranger: Watched | None = None  #: a process that must never be hit
        self.cgroups: list[Path] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._channel.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
        self._channel.bind("\0" + self.token)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._poller = select.poll()
        self._poller.register(self._channel, select.POLLIN)
        self._by_fd: dict[int, Watched] = {}
        python = [sys.executable, "-m", "benchmarks.matrix.parent", strategy, kind, str(self.kind.count), *options]
        command = [*(AS_NOBODY if self.kind.parent == "nobody" else ()), *python]
        stdin, self._orders = os.pipe()
        pid = os.posix_spawnp(
            command[0],
            command,
            {**os.environ, SOCKET: self.token, SETUID: setuid_program, "PYTHONPATH": str(ROOT)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, self._errors.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, self._errors.fileno(), 2),
            ],
            setsid=True,
            # A shell that runs us in the background ignores some of these, and programs inherit that.
            setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM],
        )
        os.close(stdin)
        self.parent = self.watch(Watched(pid, "parent"))

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + STRAYS
        if self.parent.died:
            known = {process.pid for process in self._by_fd.values()}
            while (strays := _commands(known)) and time.monotonic() < deadline:
                time.sleep(0.005)
            self.strays = [command[:80] for command in strays]
        end_all()
        for directory in self.cgroups:
            directory.rmdir()
        os.close(self._orders)
        for process in self._by_fd.values():
            os.close(process.pidfd)
        self._channel.close()
        self._errors.close()

    def left_after_refusal(self) -> list[str]:
        """Processes that are alive when the parent is gone, though the strategy said that it starts none."""
        self.watch_deaths([self.parent], READY)
        self.pump(STRAYS)
        return _commands()

    def order(self, what: str) -> None:
        os.write(self._orders, what.encode() + b"\n")

    def stop_parent(self) -> None:
        self.parent.send(signal.SIGSTOP)
        wait_for(lambda: state_of(self.parent.pid) == "T", READY, "the parent did not stop")

    def ready(self) -> None:
        """Waits until the parent and all members have said that they are up, and `SETTLED` longer."""
        expected = self.kind.count * self.kind.family
        self.until(
            lambda: len(self.members) + self.lost >= expected and self.said, READY, "its children did not come up"
        )
        for member in self.members:
            if self.kind is KINDS["stopped"]:
                wait_for(lambda pid=member.pid: state_of(pid) == "T", READY, "the child did not stop")
            if self.kind is KINDS["setuid"]:
                wait_for(lambda pid=member.pid: command_of(pid).startswith("sleep"), READY, "the child did not execute")
        settled = time.monotonic() + SETTLED
        while (left := settled - time.monotonic()) > 0:
            self.pump(left)
        dead = [process.role for process in (self.parent, *self.members) if process.died]
        if dead or self.lost:
            raise Failed(f"dead before anything was done: {', '.join(dead) or 'a child'}: {self.last_error()}")

    def hear(self, what: str, seconds: float = READY) -> None:
        self.until(lambda: what in self.said, seconds, f"the parent did not say {what!r}")

    def until(self, what: Callable[[], object], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            left = deadline - time.monotonic()
            if left < 0 or self.parent.died:
                self.pump(0)
                if what():
                    return
                raise Failed(f"{failure}: {self.last_error()}")
            self.pump(left)

    def pump(self, seconds: float) -> None:
        """Waits for at least one event, and takes all that came: deaths with their times, and what was said."""
        events = self._poller.poll(max(0, seconds) * 1000)
        now = time.monotonic()
        for fd, _ in events:
            if fd in self._by_fd:
                self._by_fd[fd].died = now
                self._poller.unregister(fd)
        if any(fd == self._channel.fileno() for fd, _ in events):
            self._listen()

    def watch_deaths(self, members: list[Watched], seconds: float) -> None:
        """Waits until all of these are dead, at most so many seconds."""
        deadline = time.monotonic() + seconds
        while any(member.died is None for member in members) and (left := deadline - time.monotonic()) > 0:
            self.pump(left)

    def find(self, word: str) -> Watched:
        """The first process below the parent that has this word in its command line."""
        for pid in descendants(self.parent.pid):
            if word in command_of(pid):
                return self.watch(Watched(pid, word))
        raise Failed(f"no process has {word!r} in its command line")

    def join(self, pid: int, role: str) -> Watched:
        """Makes the process a member, if it is none."""
        for member in self.members:
            if member.pid == pid:
                return member
        member = self.watch(Watched(pid, role))
        self.members.append(member)
        return member

    def last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def watch(self, process: Watched) -> Watched:
        self._by_fd[process.pidfd] = process
        self._poller.register(process.pidfd, select.POLLIN)
        return process

    def _listen(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._channel.recvmsg(4096, 256)
            except BlockingIOError:
                return
            text = data.decode()
            if text.startswith("refused"):
                raise Refused(text.removeprefix("refused "))
            if text not in ("child", "grandchild"):
                self.said.append(text)
                continue
            for _, type_, credentials in ancillary:
                if type_ == SCM_CREDENTIALS:
                    pid = struct.unpack("iII", credentials)[0]
                    try:
                        self.join(pid, text)
                    except ProcessLookupError:
                        self.lost += 1

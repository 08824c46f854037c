"""Lifelines in plain Python, without orphanguard: what it was, what it is, and what does not work.

Each is a pipe, and for each program a description of its read end that the kernel signals when the last write end goes.
They differ in where those two are.
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import subprocess

F_SETSIG = 10  # linux/fcntl.h
SLEEP = ["sleep", "1000"]


def above(fd: int, number: int) -> int:
    """The same on a number from there on."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)
    os.close(fd)
    return moved


def send(way: socket.socket, fd: int) -> None:
    way.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


class Table:
    """All in the parent's table of fds, the write end above the descriptions. So it was before the tether: of a process
    that ends alone Linux releases the highest first."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self, **options: object) -> subprocess.Popen[bytes]:
        program = subprocess.Popen(SLEEP, **options)  # type: ignore[call-overload]
        self.keep(self.arm(program.pid))
        return program

    def arm(self, pid: int) -> int:
        fd = os.open(f"/proc/self/fd/{self.reader}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(fd, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, pid)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        return fd

    def keep(self, fd: int) -> None:
        if fd > self.writer:
            self.writer = above(self.writer, fd + 1)


class FlatNest(Table):
    """The write end and the descriptions in one queue."""

    def __init__(self) -> None:
        super().__init__()
        self.sender, self.end = socket.socketpair()
        send(self.sender, self.writer)
        os.close(self.writer)

    def keep(self, fd: int) -> None:
        send(self.sender, fd)
        os.close(fd)


class Nest(Table):
    """The tether: the write end in one queue, the descriptions in one that hangs in there.

    ``meanwhile``: what another thread does while it is made, in this process's own table of fds.
    """

    def __init__(self, meanwhile: object = None) -> None:
        super().__init__()
        sender, self.end = socket.socketpair()
        self.sender, queue = socket.socketpair()
        send(sender, queue.fileno())
        if callable(meanwhile):
            meanwhile()
        send(sender, self.writer)
        for each in (sender, queue):
            each.close()
        os.close(self.writer)

    def keep(self, fd: int) -> None:
        send(self.sender, fd)
        os.close(fd)


DESIGNS = {"table": Table, "flat nest": FlatNest, "nest": Nest}

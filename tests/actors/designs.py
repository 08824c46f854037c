"""Designs of a lifeline in plain Python, without orphanguard: the one before the tether, the tether, and one that
fails.

Each has a pipe, and for each program a description of its read end. The kernel signals through the descriptions when
the last write end is released. The designs differ in where the write end and the descriptions are.
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
    """The same file on a number from ``number`` on."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)
    os.close(fd)
    return moved


def send(way: socket.socket, fd: int) -> None:
    way.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


class Table:
    """The design before the tether: all is in the parent's table of fds, the write end above the descriptions. When a
    process ends alone, Linux releases its highest fd first."""

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
    """The tether: the write end is in one queue, and the descriptions are in a queue that is itself in the first one.

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

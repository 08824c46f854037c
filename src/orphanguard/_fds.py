"""An fd of ours, and what it referred to when we made it: struct own_fd of csrc/shim_api.h, in Python.

A program may close our fds (``os.closerange``) and get their numbers again for something else, which we must neither
use nor close. And a signal handler may raise between any two steps of a start: so the object is there before the fd,
the shim fills it in, and whoever lets go of it closes it.
"""

from __future__ import annotations

import os
import posix

from . import _native

#: gevent's os.close leaves the fd open until its hub runs, and somebody may wait for the end.
close = posix.close


class OwnFd:
    def __init__(self) -> None:
        self._held, self._gives_back = _native.fd()

    @property
    def fd(self) -> int:
        """-1: there is none, or none any more."""
        number: int = self._held.fd
        return number

    def is_ours(self) -> bool:
        return bool(_native.fd_is_ours(self._held))

    def close(self) -> None:
        """Once, and only if it is ours."""
        _native.fd_close(self._held)

    def release(self) -> None:
        """It is somebody else's to close."""
        self._held.fd = -1


class NotedFd:
    """One that somebody else closes, or forgets."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._stat = os.fstat(fd)

    def close(self) -> None:
        """Unless somebody has."""
        try:
            if os.path.samestat(self._stat, os.fstat(self.fd)):
                close(self.fd)
        except OSError:
            pass


def pipe(*, keep_from_forks: bool = False) -> tuple[OwnFd, OwnFd]:
    """Reader and writer; no forked child keeps the writer if told so."""
    reader, writer = OwnFd(), OwnFd()
    _native.pipe(reader._held, writer._held, keep_from_forks=keep_from_forks)
    return reader, writer


def duplicate(fd: int) -> OwnFd:
    copy = OwnFd()
    _native.duplicate(copy._held, fd)
    return copy

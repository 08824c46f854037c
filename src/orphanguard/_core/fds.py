"""An fd of ours, and what it referred to when we made it: the calls of csrc/shim/fd.c and pipe.c.

A program may close our fds (``os.closerange``) and get their numbers again for something else, which we must neither
use nor close. And a signal handler may raise between any two steps of a start. So the object exists before the fd does,
the shim fills it in, and the object closes the fd when it is collected. Needs `native`.
"""

from __future__ import annotations

import os
import posix

from .errors import os_error
from .native import fail, ffi, lib

#: gevent's os.close leaves the fd open until its hub runs, and a reader may wait for the end of a pipe.
close = posix.close


class OwnFd:
    """A place for one fd of ours: a struct own_fd of csrc/shim/shim_api.h."""

    def __init__(self) -> None:
        self._held = ffi.new("struct own_fd *", {"fd": -1})
        self._gives_back = ffi.gc(self._held, lib.og_close_if_ours)

    @property
    def fd(self) -> int:
        """Its number; -1 where there is no fd yet, or no fd any more."""
        number: int = self._held.fd
        return number

    def is_ours(self) -> bool:
        """Whether the number still refers to what we opened."""
        return bool(lib.og_still_ours(self._held))

    def close(self) -> None:
        """Closes the fd if it is still ours. Further calls do nothing."""
        lib.og_close_if_ours(self._held)

    def release(self) -> None:
        """Gives the fd away: its new owner closes it."""
        self._held.fd = -1


class NotedFd:
    """An fd that other code has opened, and may forget to close."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._stat = os.fstat(fd)

    def close(self) -> None:
        """Closes the fd, unless other code has closed it."""
        try:
            if os.path.samestat(self._stat, os.fstat(self.fd)):
                close(self.fd)
        except OSError:
            pass


def make_pipe(reader: OwnFd, writer: OwnFd, *, keep_from_forks: bool = False) -> None:
    """``os.pipe()`` into ``reader`` and ``writer``. Neither gets the number of a standard stream.

    ``keep_from_forks``: no forked child keeps a copy of the writer, which would hide the end of the file.
    """
    if (code := lib.og_pipe(reader._held, writer._held, keep_from_forks)) < 0:
        fail(code, os_error)


def pipe(*, keep_from_forks: bool = False) -> tuple[OwnFd, OwnFd]:
    """The reader and the writer of a new pipe, as `make_pipe`."""
    reader, writer = OwnFd(), OwnFd()
    make_pipe(reader, writer, keep_from_forks=keep_from_forks)
    return reader, writer


def duplicate(fd: int) -> OwnFd:
    """``os.dup(fd)``, close-on-exec."""
    copy = OwnFd()
    if (code := lib.og_duplicate(copy._held, fd)) < 0:
        fail(code, os_error)
    return copy

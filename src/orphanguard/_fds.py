"""An fd of ours, and what it referred to when we made it: struct pipe_end of csrc/shim.h, in Python.

A program may close our fds (``os.closerange``) and get their numbers again for something else, which we must neither
use nor close.
"""

from __future__ import annotations

import os
import posix

#: gevent's os.close leaves the fd open until its hub runs, and somebody may wait for the end.
close = posix.close


class OwnFd:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._stat = os.fstat(fd)

    def is_ours(self) -> bool:
        return self._is_ours(self.fd)

    def close(self) -> None:
        """Once, also if a signal handler does so in between, and only if it is ours."""
        fd, self.fd = self.fd, -1
        if self._is_ours(fd):
            close(fd)

    def _is_ours(self, fd: int) -> bool:
        try:
            return fd >= 0 and os.path.samestat(self._stat, os.fstat(fd))
        except OSError:
            return False

"""An fd of ours, and what it referred to when we made it: struct pipe_end of csrc/shim.h, in Python.

A program may close our fds (``os.closerange``) and get their numbers again for something else, which we must neither
use nor close.
"""

from __future__ import annotations

import os


class OwnFd:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._stat = os.fstat(fd)

    def is_ours(self) -> bool:
        try:
            return self.fd >= 0 and os.path.samestat(self._stat, os.fstat(self.fd))
        except OSError:
            return False

    def close(self) -> None:
        """Once, and only if it is ours."""
        if self.is_ours():
            fd, self.fd = self.fd, -1
            os.close(fd)
        self.fd = -1

"""A process by its pidfd: the calls of csrc/shim/pidfd.c and child.c.

A pid can belong to another process by the time it is used; a pidfd (Linux 5.3) cannot. But its *number* can: a program
may close our fds, and get their numbers again for its own. So each call takes the identity of the pidfd too, that of
struct og_child. If the pidfd is no longer that process's, the call raises OSError (EBADF). Needs `native`.
"""

from __future__ import annotations

import errno
import time

from .errors import os_error
from .native import fail, lib
from .polling import pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_RUNNING: int = lib.OG_RUNNING
_FAILED: int = lib.OG_FAILED


def open(pid: int) -> int:
    """A new pidfd of the process ``pid``."""
    fd: int = lib.og_pidfd_open(pid)
    if fd < 0:
        fail(fd)
    return fd


def hold(held: Any, pid: int) -> None:
    """Opens a pidfd of the process ``pid`` into ``held``, from `lifelines.held`."""
    if (code := lib.og_pidfd_hold(held, pid)) < 0:
        fail(code)


def check(pidfd: int, identity: int) -> None:
    """Raises OSError (EBADF) if the number ``pidfd`` is no longer that pidfd."""
    if (code := lib.og_pidfd_check(pidfd, identity)) < 0:
        fail(code, os_error)


#: Closes the pidfd in ``held``, unless its number belongs to another file by now.
close: Callable[[Any], None] = lib.og_pidfd_close
#: Reaps the child of ``held`` if it has ended, and gives its lifeline back.
reap: Callable[[Any], None] = lib.og_child_reap


def send_signal(pidfd: int, identity: int, signal: int) -> None:
    """pidfd_send_signal(2)."""
    if (code := lib.og_pidfd_send_signal(pidfd, identity, signal)) < 0:
        fail(code, os_error)


def status(pidfd: int, identity: int) -> int | None:
    """The exit code of a child that has ended, or minus the signal; None while it runs. The child stays a zombie.

    Raises ChildProcessError if the process is not a child of this process, or other code has reaped it.
    """
    code: int = lib.og_pidfd_status(pidfd, identity)
    if code <= _FAILED:
        fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


def wait(pidfd: int, identity: int) -> int | None:
    """As `status`, once the child has ended. Raises InterruptedError after a signal, whose handlers have run then."""
    code: int = lib.og_pidfd_wait(pidfd, identity)
    if code <= _FAILED:
        fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


_reaped_status = lib.og_pidfd_reaped_status


def reaped_status(pidfd: int, identity: int, patience: float = 0.0) -> int | None:
    """The exit code of a process that other code has reaped, as `status`. Linux 6.15 or later.

    None if no code has reaped it within ``patience`` seconds, or this kernel cannot tell.
    """
    code: int = _reaped_status(pidfd, identity)
    if code == _RUNNING and patience:
        # The process is dead, and the kernel is about to reap it. A kernel that keeps the status has it from then on;
        # a kernel that does not answers ESRCH from then on.
        deadline = time.monotonic() + patience
        while code == _RUNNING and time.monotonic() < deadline:
            pause()
            code = _reaped_status(pidfd, identity)
    if code <= _FAILED:
        if _FAILED - code in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code

"""The exceptions and the warning that the standard library has no name for, and the choice of one for an errno.

A guard that the kernel refuses is a `GuardUnavailable`; resources that run out are a plain OSError. The message names
the call, or the program, that has failed. Needs no other file of ours.
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# The kernel does not refuse the mechanism: resources run out, or the start is disturbed. These stay a plain OSError.
RESOURCES = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EINTR, errno.ESRCH, errno.ECHILD)
)


class GuardUnavailable(OSError):
    """The kernel can't keep the promise here, so the child was not started.

    ``errno`` is the kernel's answer. The message names the call that the kernel refused, and the likely reason.
    """

    __module__ = "orphanguard"  # where users find it; a traceback names it


class StatusLostWarning(RuntimeWarning):
    """Other code has reaped the child, and this kernel (before Linux 6.15) doesn't keep its exit status.

    The exit status is then reported as 255, never as 0.
    """

    __module__ = "orphanguard"


def os_error(code: int, call: str) -> OSError:
    """The OSError of ``call``, which its message names. OSError() picks the subclass that belongs to ``code``."""
    return OSError(code, f"{call}: {os.strerror(code)}")


def guard_error(code: int, call: str) -> OSError:
    """As `os_error`, for a call that the guard can't do without: if the kernel refuses it, `GuardUnavailable`."""
    if code in RESOURCES:
        return os_error(code, call)
    if code in (errno.EPERM, errno.EACCES):
        why = "refused, most likely by a seccomp filter or a security module"
    elif code == errno.ENOSYS:
        why = "not in this kernel (Linux 5.10 or later is needed), or hidden by a seccomp filter"
    else:
        why = "refused by this kernel"
    return GuardUnavailable(code, f"{call}: {os.strerror(code)}: {why}; a child started now could outlive its parent")


# The errors of execve(2) that are about the file itself, and not about its arguments or this process.
_OF_THE_FILE = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELIBBAD, errno.EIO, errno.ELOOP)
)


def not_executable(program: str, error: OSError, asked_for: object) -> OSError:
    """The exception for the ``error`` of executing ``program``, a part of this package, for what was ``asked_for``.

    `GuardUnavailable` if the file ``program`` is at fault. Any other error would meet the user's program too, so it is
    an OSError that names ``asked_for``.
    """
    if error.errno not in _OF_THE_FILE:
        return OSError(error.errno, error.strerror, asked_for)
    why = "a program of orphanguard's own can't be executed, so nothing was started"
    return GuardUnavailable(error.errno, f"{program}: {error.strerror}: {why}")


def refuse(hook: str, why: str) -> NoReturn:
    """Ends a start in a ``preexec_fn``: raises, and writes ``why`` to stderr.

    The parent of a ``preexec_fn`` never gets the text of its exception.
    """
    message = f"orphanguard.{hook}: program not started: {why}\n".encode()
    with contextlib.suppress(OSError):
        os.write(2, message)
    with contextlib.suppress(OSError):
        # Popen(stderr=...) may have redirected our stderr. Then the parent's gets the message too.
        theirs = f"/proc/{os.getppid()}/fd/2"
        if not os.path.samestat(os.stat(theirs), os.fstat(2)):
            fd = os.open(theirs, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, message)
            finally:
                os.close(fd)
    raise RuntimeError(f"orphanguard.{hook}: {why}")

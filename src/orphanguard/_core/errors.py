"""What can go wrong that the standard library has no name for."""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Not the kernel refusing the mechanism, but resources running out: those stay a plain OSError.
RESOURCES = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EINTR, errno.ESRCH, errno.ECHILD)
)


class GuardUnavailable(OSError):
    """The kernel can't keep the promise here, so the child was not started.

    ``errno`` is the kernel's answer and the message names the call that it refused and the likely reason.
    """


class StatusLostWarning(RuntimeWarning):
    """Somebody else reaped the child and this kernel (before Linux 6.15) doesn't keep its status.

    The exit status is then reported as 255, never as 0.
    """


for _public in (GuardUnavailable, StatusLostWarning):
    _public.__module__ = "orphanguard"  # where users find them, and what a traceback should name


def os_error(code: int, call: str) -> OSError:
    """The OSError of ``call``, of the subclass that belongs to ``code``, naming the call."""
    return OSError(code, f"{call}: {os.strerror(code)}")


def guard_error(code: int, call: str) -> OSError:
    """As `os_error`, for a call that the guard can't do without: a refusal is `GuardUnavailable`."""
    if code in RESOURCES:
        return os_error(code, call)
    if code in (errno.EPERM, errno.EACCES):
        why = "refused, most likely by a seccomp filter or a security module"
    elif code == errno.ENOSYS:
        why = "not in this kernel (Linux 5.10 or later is needed), or hidden by a seccomp filter"
    else:
        why = "refused by this kernel"
    return GuardUnavailable(code, f"{call}: {os.strerror(code)}: {why}; a child started now could outlive its parent")


# What execve(2) says of the file itself, and not of its arguments or of this process.
_OF_THE_FILE = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELIBBAD, errno.EIO, errno.ELOOP)
)


def not_executable(program: str, error: OSError, asked_for: object) -> OSError:
    """Of executing ``program``, a part of this package, in the place of what the user has ``asked_for``."""
    if error.errno not in _OF_THE_FILE:
        return OSError(error.errno, error.strerror, asked_for)
    why = "a program of orphanguard's own can't be executed, so nothing was started"
    return GuardUnavailable(error.errno, f"{program}: {error.strerror}: {why}")


def refuse(hook: str, why: str) -> NoReturn:
    """The text of an exception that is raised in a preexec_fn never arrives; what is on stderr does."""
    message = f"orphanguard.{hook}: program not started: {why}\n".encode()
    with contextlib.suppress(OSError):
        os.write(2, message)
    with contextlib.suppress(OSError):
        # Popen(stderr=...) has redirected ours: tell the parent's as well.
        theirs = f"/proc/{os.getppid()}/fd/2"
        if not os.path.samestat(os.stat(theirs), os.fstat(2)):
            fd = os.open(theirs, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, message)
            finally:
                os.close(fd)
    raise RuntimeError(f"orphanguard.{hook}: {why}")

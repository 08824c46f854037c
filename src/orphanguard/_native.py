"""Typed calls into the C shim. A failure becomes an OSError that names the call that failed.

The only module that touches cffi. Loading it installs the shim's at-fork handlers.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from ._errors import guard_error, os_error
from ._shim import ffi, lib


class Origin(NamedTuple):
    """Where this process came from, as its parent's at-fork handlers saw it."""

    parent: int  #: pid of the forking process; 0 if not forked, or before the shim was loaded there
    by_main_thread: bool
    lifeline: int  #: an fd of the parent's lifeline; -1 if there is none
    armed: int  #: the description that this process is armed on; -1 if there is none
    armed_signal: int
    held_by_parent: bool


def _fail(err: Any, error: Callable[[int, str], OSError] = guard_error) -> NoReturn:
    raise error(err.code, ffi.string(err.call).decode())


def _init() -> None:
    err = ffi.new("struct og_error *")
    if lib.og_init(err) < 0:
        _fail(err, os_error)


_init()


def lifeline_open() -> int:
    """Opens a description for one child to be armed on; keep it open until that child is reaped."""
    err = ffi.new("struct og_error *")
    fd: int = lib.og_lifeline_open(err)
    if fd < 0:
        _fail(err)
    return fd


def lifeline_close(fd: int) -> None:
    lib.og_lifeline_close(fd)


def lifeline_owner(fd: int) -> int:
    """The pid armed on ``fd``; 0 if nobody is yet, and once that process has been reaped."""
    owner: int = lib.og_lifeline_owner(fd)
    return owner


def is_main_thread() -> bool:
    """Whether this is the process's main thread in the kernel's sense (gettid() == getpid())."""
    return bool(lib.og_is_main_thread())


def rehearse(pdeathsig: bool) -> None:
    """Finds out before a fork whether the child will be allowed to arm itself (seccomp is inherited)."""
    err = ffi.new("struct og_error *")
    if pdeathsig and lib.og_rehearse_pdeathsig(err) < 0:
        _fail(err)


def fork_armed(fd: int, fork: Callable[[], int]) -> int:
    """Calls ``fork()``; its child is armed on ``fd`` before any Python runs in it."""
    lib.og_arm_next_fork(fd)
    try:
        return fork()
    finally:
        lib.og_arm_next_fork(-1)


def arm(fd: int, *, pdeathsig: bool) -> None:
    """Arms the calling process on ``fd``, which its parent opened; dies here if that is gone already."""
    err = ffi.new("struct og_error *")
    if lib.og_arm(fd, pdeathsig, err) < 0:
        _fail(err)


def arm_inherited(signal: int) -> None:
    """Arms the calling forked process on the lifeline of its parent, on a description of its own."""
    err = ffi.new("struct og_error *")
    if lib.og_arm_inherited(signal, err) < 0:
        _fail(err)


def arm_pdeathsig(signal: int, parent: int = 0) -> None:
    """``PR_SET_PDEATHSIG``, and dies by ``signal`` here if getppid() is not ``parent`` (0: any) any more."""
    err = ffi.new("struct og_error *")
    if lib.og_arm_pdeathsig(signal, parent, err) < 0:
        _fail(err)


def pdeathsig() -> int:
    """The signal of PR_SET_PDEATHSIG that is armed in this process; 0 for none."""
    return int(lib.og_pdeathsig())


def origin() -> Origin:
    result = ffi.new("struct og_origin *")
    lib.og_origin(result)
    return Origin(
        result.parent,
        bool(result.by_main_thread),
        result.lifeline,
        result.armed,
        result.armed_signal,
        bool(result.held_by_parent),
    )


def claim(page: object) -> bool:
    """True for the first caller among all processes that share the writable buffer ``page``."""
    return bool(lib.og_claim(ffi.from_buffer("char[]", page, require_writable=True)))


def spawn(path: bytes, argv: Sequence[bytes], keep_fds: Iterable[int], lifeline: int) -> tuple[int, int]:
    """Executes ``path`` in a new child that is armed on ``lifeline``. Returns (pid, pidfd).

    The child has the fds 0, 1, 2 and ``keep_fds``. Raises the OSError of execve() if it fails; no process
    is left then.
    """
    keep = sorted(set(keep_fds))
    strings = [ffi.new("char[]", arg) for arg in argv]
    argv_array = ffi.new("char *[]", [*strings, ffi.NULL])
    path_string = ffi.new("char[]", path)
    fds = ffi.new("int[]", keep or [0])
    request = ffi.new("struct og_spawn *")
    request.path = path_string
    request.argv = argv_array
    request.keep_fds = fds
    request.keep_count = len(keep)
    request.lifeline = lifeline
    err = ffi.new("struct og_error *")
    if lib.og_spawn(request, err) < 0:
        if ffi.string(err.call) == b"execve":
            raise OSError(err.code, os.strerror(err.code), os.fsdecode(path))
        _fail(err)
    return request.pid, request.pidfd


def pidfd_open(pid: int) -> int:
    err = ffi.new("struct og_error *")
    fd: int = lib.og_pidfd_open(pid, err)
    if fd < 0:
        _fail(err)
    return fd


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    err = ffi.new("struct og_error *")
    if lib.og_pidfd_send_signal(pidfd, signal, err) < 0:
        _fail(err, os_error)


def new_exit() -> Any:
    """Where `pidfd_reap` keeps the status of one child."""
    return ffi.new("struct og_exit *")


def pidfd_reap(pidfd: int, result: Any) -> int | None:
    """Reaps the child if it has ended: its exit code, or minus the signal; None while it runs.

    ``result``: made by `new_exit` for this one child. Once reaped, the answer is there for whoever asks again.
    Raises ChildProcessError if it is not a child of this process, or somebody else has reaped it.
    """
    err = ffi.new("struct og_error *")
    if lib.og_pidfd_reap(pidfd, result, err) < 0:
        _fail(err, os_error)
    return result.code if result.exited else None


def pidfd_reaped_status(pidfd: int) -> int | None:
    """The exit code of a process that somebody else has reaped, as `pidfd_reap`. Linux 6.15 or later.

    None if it has not been reaped yet, or this kernel can't tell.
    """
    err = ffi.new("struct og_error *")
    result = ffi.new("struct og_exit *")
    if lib.og_pidfd_reaped_status(pidfd, result, err) < 0:
        if err.code in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        _fail(err, os_error)
    return result.code if result.exited else None

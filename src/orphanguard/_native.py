"""Typed calls into the C shim. A failure becomes an OSError that names the call that failed.

The only module that touches cffi. Loading it installs the shim's at-fork handlers.
"""

from __future__ import annotations

import errno
import os
import time

from ._errors import guard_error, os_error
from ._shim import ffi, lib

TYPE_CHECKING = False  # importing typing would cost every fork the pages that it fills
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn, Protocol

    class Origin(Protocol):
        """Where this process came from, as its parent's at-fork handlers saw it: struct og_origin of shim_api.h."""

        parent: int
        by_main_thread: bool  # 0 or 1
        lifeline: int
        armed: int
        armed_signal: int
        held_by_parent: bool  # 0 or 1


_RUNNING: int = lib.OG_RUNNING
_FAILED: int = lib.OG_FAILED


def _fail(code: int, error: Callable[[int, str], OSError] = guard_error) -> NoReturn:
    raise error(-code, ffi.string(lib.og_failed_call()).decode())


if (_code := lib.og_init()) < 0:
    _fail(_code, os_error)


def lifeline_open(*, pdeathsig: bool) -> int:
    """Opens a description for one child to be armed on; keep it open until that child is reaped.

    ``pdeathsig``: the child shall have that layer too if this is the main thread; whether it will be allowed to
    is found out here, before there is a child (seccomp filters are inherited).
    """
    fd: int = lib.og_lifeline_open(pdeathsig)
    if fd < 0:
        _fail(fd)
    return fd


lifeline_close: Callable[[int], None] = lib.og_lifeline_close


def lifeline_owner(fd: int) -> int:
    """The pid armed on ``fd``; 0 if nobody is yet, and once that process has been reaped."""
    owner: int = lib.og_lifeline_owner(fd)
    return owner


def is_main_thread() -> bool:
    """Whether this is the process's main thread in the kernel's sense (gettid() == getpid())."""
    return bool(lib.og_is_main_thread())


#: The start of a child begins in this thread; `abandon` is about what comes after. True if one is under way here
#: already: a signal handler has interrupted it, and needs `save_start`.
begin_start: Callable[[], bool] = lib.og_begin_start
end_start: Callable[[], None] = lib.og_end_start


def save_start() -> Callable[[], None]:
    """Sets the start that is under way in this thread aside; the result brings it back."""
    saved = ffi.new("struct og_start *")
    lib.og_save_start(saved)
    return lambda: lib.og_restore_start(saved)


# Bound here, and not looked up in `lib` between a fork and its end: one page less for the child to map.
_arm_next_fork = lib.og_arm_next_fork
_forked = lib.og_forked


def arm_next_fork(lifeline: int) -> bool:
    """The next `fork_armed` of this thread arms its child on ``lifeline``; with PDEATHSIG too if True."""
    pdeathsig: int = _arm_next_fork(lifeline)
    if pdeathsig < 0:
        _fail(pdeathsig)
    return pdeathsig != 0


def fork_armed() -> int:
    """``os.fork()`` whose child is armed before any Python runs in it, after `arm_next_fork`.

    The child returns from it when this process has its pidfd. If it raises, there is no child.
    """
    try:
        pid = os.fork()
    except OSError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            lib.og_fork_failed()  # os.fork() itself has raised it, not a signal handler after it
        raise
    if (code := _forked(pid)) < 0:
        _fail(code)
    return pid


#: The description that the child of `fork_armed` is armed on.
armed_next_fork: Callable[[], int] = lib.og_armed_next_fork
#: The pidfd of the child that this thread has just started: the caller's to close.
started_child: Callable[[], int] = lib.og_started_child


def abandon() -> int:
    """After an exception in the middle of a start: kills and reaps what it has started. Returns its pidfd, or -1."""
    pidfd: int = lib.og_abandon()
    return pidfd


def arm(fd: int, *, pdeathsig: bool) -> None:
    """Arms the calling process on ``fd``, which its parent opened; dies here if that is gone already."""
    if (code := lib.og_arm(fd, pdeathsig)) < 0:
        _fail(code)


def arm_inherited(signal: int) -> None:
    """Arms the calling forked process on the lifeline of its parent, on a description of its own."""
    if (code := lib.og_arm_inherited(signal)) < 0:
        _fail(code)


def arm_pdeathsig(signal: int, parent: int = 0) -> None:
    """``PR_SET_PDEATHSIG``, and dies by ``signal`` here if getppid() is not ``parent`` (0: any) any more."""
    if (code := lib.og_arm_pdeathsig(signal, parent)) < 0:
        _fail(code)


def pdeathsig() -> int:
    """The signal of PR_SET_PDEATHSIG that is armed in this process; 0 for none."""
    return int(lib.og_pdeathsig())


def armed() -> int:
    """The description that this process is armed on; -1 if there is none."""
    fd: int = lib.og_armed()
    return fd


def origin() -> Origin:
    result: Origin = ffi.new("struct og_origin *")
    lib.og_origin(result)
    return result


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
    if (code := lib.og_spawn(request)) < 0:
        if ffi.string(lib.og_failed_call()) == b"execve":
            raise OSError(-code, os.strerror(-code), os.fsdecode(path))
        _fail(code)
    return request.pid, request.pidfd


def pidfd_open(pid: int) -> int:
    fd: int = lib.og_pidfd_open(pid)
    if fd < 0:
        _fail(fd)
    return fd


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    if (code := lib.og_pidfd_send_signal(pidfd, signal)) < 0:
        _fail(code, os_error)


def pidfd_status(pidfd: int) -> int | None:
    """The exit code of a child that has ended, or minus the signal; None while it runs. It stays a zombie.

    Raises ChildProcessError if it is not a child of this process, or somebody else has reaped it.
    """
    code: int = lib.og_pidfd_status(pidfd)
    if code <= _FAILED:
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


def pidfd_reap(pidfd: int) -> None:
    """Reaps the child if it has ended."""
    lib.og_pidfd_reap(pidfd)


def pidfd_reaped_status(pidfd: int) -> int | None:
    """The exit code of a process that somebody else has reaped, as `pidfd_status`. Linux 6.15 or later.

    None if it has not been reaped yet, or this kernel can't tell.
    """
    code: int = lib.og_pidfd_reaped_status(pidfd)
    if code <= _FAILED:
        if _FAILED - code in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


_wait_readable = lib.og_wait_readable


def wait_readable(fd: int, timeout: float | None) -> bool:
    """poll(2) for input or hang-up, up to ``timeout`` seconds (None: for ever); False when they are over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    milliseconds = -1
    while True:
        if deadline is not None:
            # Upwards: no busy loop for the last fraction of a millisecond. poll(2) takes an int.
            milliseconds = min(int(max(deadline - time.monotonic(), 0) * 1000 + 0.999), 2**31 - 1)
        ready: int = _wait_readable(fd, milliseconds)
        if ready >= 0:
            return ready != 0
        if ready != -errno.EINTR:  # else Python's handlers have run by now: PEP 475
            _fail(ready, os_error)

"""Typed calls into the C shim. A failure becomes an OSError that names the call that failed.

The only module that touches cffi. Loading it installs the shim's at-fork handlers.
"""

from __future__ import annotations

import errno
import os
import time
from collections import namedtuple

from ._errors import guard_error, os_error
from ._shim import ffi, lib

TYPE_CHECKING = False  # importing typing would cost every fork the pages that it fills
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

_RUNNING: int = lib.OG_RUNNING
_FAILED: int = lib.OG_FAILED
_RETRY = 0.001  # seconds


# Where this process came from, as its parent's at-fork handlers saw it: struct og_origin of csrc/shim_api.h.
Origin = namedtuple("Origin", "parent by_main_thread lifeline armed armed_signal held_by_parent")


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


def lifeline_close(fd: int) -> None:
    lib.og_lifeline_close(fd)


def lifeline_held(fd: int) -> Sequence[int]:
    """One place for ``fd``, which is -1 from `lifeline_give_back` on."""
    held: Sequence[int] = ffi.new("int *", fd)
    return held


def lifeline_give_back(held: Sequence[int]) -> None:
    lib.og_lifeline_give_back(held)


def lifeline_owner(fd: int) -> int:
    """The pid armed on ``fd``; 0 if nobody is yet, and once that process has been reaped."""
    owner: int = lib.og_lifeline_owner(fd)
    return owner


def pipe(*, keep_from_forks: bool = False) -> tuple[int, int]:
    """``os.pipe()`` that never gets the numbers of stdio, and whose write end no forked child keeps if told so."""
    ends = ffi.new("int[2]")
    if (code := lib.og_pipe(ends, keep_from_forks)) < 0:
        _fail(code, os_error)
    return ends[0], ends[1]


def is_main_thread() -> bool:
    """Whether this is the process's main thread in the kernel's sense (gettid() == getpid())."""
    return bool(lib.og_is_main_thread())


def begin_start() -> None:
    """The start of a child begins in this thread; `abandon` is about what comes after.

    Before anything from which `abandon` may have to follow: it would kill the child of the start before.
    """
    lib.og_begin_start()


def save_start() -> Callable[[], None]:
    """Sets the start that is under way in this thread aside; the result brings it back."""
    saved = ffi.new("struct og_start *")
    lib.og_save_start(saved)
    return lambda: lib.og_restore_start(saved)


def fork_armed(lifeline: int, gate: tuple[int, int]) -> tuple[int, int]:
    """``os.fork()`` whose child is armed on ``lifeline`` before any Python runs in it. Returns (pid, pidfd).

    The child is held at the pipe ``gate`` until this process has its pidfd. If it raises, there is no child.
    """
    lib.og_arm_next_fork(lifeline, gate[0], gate[1])
    try:
        pid = os.fork()
    except OSError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            lib.og_fork_failed()  # os.fork() itself has raised it, not a signal handler after it
        raise
    if pid == 0:
        return 0, -1
    pidfd: int = lib.og_admit(pid)
    if pidfd < 0:
        _fail(pidfd)
    return pid, pidfd


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


# A program may close our fds, and get their numbers again for its own. So a pidfd comes with its identity below: what
# `pidfd_identity` said when it was made, or 0. OSError (EBADF) if it is not that process's any more.


def pidfd_identity(pidfd: int) -> int:
    identity: int = lib.og_pidfd_identity(pidfd)
    return identity


def pidfd_check(pidfd: int, identity: int) -> None:
    if (code := lib.og_pidfd_check(pidfd, identity)) < 0:
        _fail(code, os_error)


def pidfd_close(pidfd: int, identity: int) -> None:
    """Closes it, unless it is somebody else's by now."""
    lib.og_pidfd_close(pidfd, identity)


def pidfd_send_signal(pidfd: int, identity: int, signal: int) -> None:
    if (code := lib.og_pidfd_send_signal(pidfd, identity, signal)) < 0:
        _fail(code, os_error)


def pidfd_status(pidfd: int, identity: int) -> int | None:
    """The exit code of a child that has ended, or minus the signal; None while it runs. It stays a zombie.

    Raises ChildProcessError if it is not a child of this process, or somebody else has reaped it.
    """
    code: int = lib.og_pidfd_status(pidfd, identity)
    if code <= _FAILED:
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


def pidfd_reap(pidfd: int, identity: int) -> None:
    """Reaps the child if it has ended."""
    lib.og_pidfd_reap(pidfd, identity)


_reaped_status = lib.og_pidfd_reaped_status


def pidfd_reaped_status(pidfd: int, identity: int, patience: float = 0.0) -> int | None:
    """The exit code of a process that somebody else has reaped, as `pidfd_status`. Linux 6.15 or later.

    None if it has not been reaped yet, within ``patience`` seconds, or this kernel can't tell.
    """
    code: int = _reaped_status(pidfd, identity)
    if code == _RUNNING and patience:
        # It is dead, but the kernel is still about to reap it, and keeps the status when it does. A kernel that does
        # not answers ESRCH from then on.
        deadline = time.monotonic() + patience
        while code == _RUNNING and time.monotonic() < deadline:
            time.sleep(_RETRY)
            code = _reaped_status(pidfd, identity)
    if code <= _FAILED:
        if _FAILED - code in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


def wait_readable(fd: int, milliseconds: int) -> bool:
    """poll(2) for input or hang-up, up to ``milliseconds`` (-1: for ever); False when they are over.

    Raises InterruptedError after a signal: Python's handlers have run by then.
    """
    ready: int = lib.og_wait_readable(fd, milliseconds)
    if ready < 0:
        _fail(ready, os_error)
    return bool(ready)


def epoll_create() -> int:
    """The fd of a new epoll(7) that `epoll_is_ours` knows; one at a time."""
    fd: int = lib.og_epoll_create()
    if fd < 0:
        _fail(fd, os_error)
    return fd


def epoll_is_ours(epoll: int) -> bool:
    return bool(lib.og_epoll_is_ours(epoll))

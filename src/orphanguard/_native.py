"""Typed calls into the C shim. A failure becomes an OSError that names the call that failed.

The only module that touches cffi. Loading it installs the shim's at-fork handlers.
"""

from __future__ import annotations

import errno
import os
from collections import namedtuple

from ._errors import guard_error, os_error
from ._shim import ffi, lib

TYPE_CHECKING = False  # importing typing would cost every fork the pages that it fills
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

_RUNNING: int = lib.OG_RUNNING
_FAILED: int = lib.OG_FAILED


# Where this process came from, as its parent's at-fork handlers saw it: struct og_origin of csrc/shim_api.h.
Origin = namedtuple("Origin", "parent by_main_thread lifeline armed armed_signal held_by_parent")


def _fail(code: int, error: Callable[[int, str], OSError] = guard_error, call: Any = None) -> NoReturn:
    raise error(-code, ffi.string(call or lib.og_failed_call()).decode())


if (_code := lib.og_init()) < 0:
    _fail(_code, os_error)


def lifeline_open(*, pdeathsig: bool, signal: int = 9) -> int:
    """Opens a description for one child to be armed on; keep it open until that child is reaped.

    ``signal``: what the child will be sent.
    ``pdeathsig``: the child will be forked and shall have that layer too, if this is the main thread; whether it
    will be allowed to is found out here, before there is a child (seccomp filters are inherited). A spawned one
    tells by itself.
    """
    fd: int = lib.og_lifeline_open(signal, pdeathsig)
    if fd < 0:
        _fail(fd)
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


# The steps of a spawn that are not the guard's: what they are refused is an ordinary OSError.
_REQUESTED = ("dup2", "setsid", "setpgid", "setgroups", "setregid", "setreuid", "fcntl(F_SETFD)", "malloc", "mmap")


def spawn_request() -> Any:
    """A struct og_spawn of csrc/shim_api.h that asks for a child as this process is, without fds above 2.

    `spawn` fills in ``pid`` and ``pidfd``, which is -1 as long as there is no child. Made before, so that an
    exception which gets between that call and its caller can't lose the child.
    """
    request = ffi.new("struct og_spawn *")
    lib.og_spawn_defaults(request)
    return request


def spawn(  # noqa: PLR0917 (keywords take time)
    request: Any,
    paths: Sequence[bytes],
    args: Sequence[bytes],
    env: Sequence[bytes] | None = None,
    keep_fds: Iterable[int] = (),
    cwd: Any = None,
    groups: Sequence[int] | None = None,
    executable: Any = None,
) -> None:
    """Executes the first of ``paths`` that is there in a new child, as ``request`` and these arguments say.

    Raises ValueError for a NUL inside a string, and the OSError of what failed: of execve() with ``executable`` as
    its filename, of chdir() with ``cwd``. No process is left then.
    """
    request.path_count, request.arg_count = len(paths), len(args)
    if env is not None:
        request.env_count = len(env)
    if keep_fds:
        keep = sorted(set(keep_fds))
        keep_array = ffi.new("int[]", keep)
        request.keep_fds, request.keep_count = keep_array, len(keep)
    if cwd is not None:
        directory = ffi.from_buffer(_strings([os.fsencode(cwd)]))
        request.cwd = directory
    if groups is not None:
        group_array = ffi.new("unsigned[]", groups)
        request.groups, request.group_count = group_array, len(groups)
    code: int = lib.og_spawn(request, _strings(paths), _strings(args), ffi.NULL if env is None else _strings(env))
    if code >= 0:
        return
    call = ffi.string(request.failed_call).decode()
    if call in ("execve", "chdir"):
        raise OSError(-code, os.strerror(-code), executable if call == "execve" else cwd)
    _fail(code, os_error if request.lifeline < 0 or call in _REQUESTED else guard_error, request.failed_call)


def _strings(strings: Sequence[bytes]) -> bytes:
    """One after the other, each with its NUL."""
    joined = b"\0".join(strings)
    if joined.count(b"\0") >= len(strings) and joined:
        raise ValueError("embedded null byte")
    return joined


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


def pidfd_wait(pidfd: int) -> int | None:
    """As `pidfd_status`, when the child has ended. InterruptedError after a signal: handlers have run by then."""
    code: int = lib.og_pidfd_wait(pidfd)
    if code <= _FAILED:
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


def pidfd_reap(pidfd: int, lifeline: int) -> None:
    """Reaps the child if it has ended; gives its lifeline back, unless that is -1."""
    lib.og_pidfd_reap(pidfd, lifeline)


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


def wait_readable(fd: int, milliseconds: int) -> bool:
    """poll(2) for input or hang-up, up to ``milliseconds`` (-1: for ever); False when they are over.

    Raises InterruptedError after a signal: Python's handlers have run by then.
    """
    ready: int = lib.og_wait_readable(fd, milliseconds)
    if ready < 0:
        _fail(ready, os_error)
    return bool(ready)

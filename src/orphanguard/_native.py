"""Typed calls into the C shim. A failure becomes an OSError that names the call that failed.

The only module that touches cffi. Loading it installs the shim's at-fork handlers.
"""

from __future__ import annotations

import errno
import os
import time

from . import _gevent
from ._errors import guard_error, os_error
from ._shim import ffi, lib

TYPE_CHECKING = False  # importing typing would cost every fork the pages that it fills
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn, Protocol

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
_RETRY = 0.001  # seconds


def _fail(code: int, error: Callable[[int, str], OSError] = guard_error, call: Any = None) -> NoReturn:
    raise error(-code, ffi.string(call or lib.og_failed_call()).decode())


if (_code := lib.og_init()) < 0:
    _fail(_code, os_error)


def lifeline_open(*, pdeathsig: bool, signal: int = 9, for_hook: bool = False) -> int:
    """Opens a description for one child to be armed on; keep it open until that child is reaped.

    ``signal``: what the child will be sent.
    ``pdeathsig``: the child will be forked and shall have that layer too, if this is the main thread; whether it
    will be allowed to is found out here, before there is a child (seccomp filters are inherited). A spawned one
    tells by itself.
    ``for_hook``: somebody else will fork that child, which then arms itself on this number. Other forked children
    have no copy of it; until that child has armed itself, this one is copied to all.
    """
    fd: int = lib.og_lifeline_open(signal, pdeathsig, for_hook)
    if fd < 0:
        _fail(fd)
    return fd


lifeline_close: Callable[[int], None] = lib.og_lifeline_close


def lifeline_held(fd: int) -> Sequence[int]:
    """One place for ``fd``, which is -1 from `lifeline_give_back` on."""
    held: Sequence[int] = ffi.new("int *", fd)
    return held


lifeline_give_back: Callable[[Sequence[int]], None] = lib.og_lifeline_give_back


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


#: The start of a child begins in this thread; `abandon` is about what comes after. True if one is under way here
#: already: a signal handler has interrupted it, and needs `save_start`.
begin_start: Callable[[], bool] = lib.og_begin_start
end_start: Callable[[], None] = lib.og_end_start


def save_start() -> Callable[[], None]:
    """Sets the start that is under way in this thread aside; the result brings it back."""
    saved = ffi.new("struct og_start *")
    lib.og_save_start(saved)
    return lambda: lib.og_restore_start(saved)


#: Changes with each fork of this thread.
last_fork: Callable[[], int] = lib.og_last_fork
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
    fork = _gevent.fork_function()
    try:
        pid = fork()
    except OSError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            lib.og_fork_failed()  # os.fork() itself has raised it, not a signal handler after it
        raise
    if (code := _forked(pid)) < 0:
        _fail(code)
    if pid == 0 and fork is not os.fork:
        _gevent.forked()
    return pid


#: In a worker under a supervisor: its own pid, the containment, the signal.
supervised: tuple[int, str, int] | None = None
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


# The steps of a spawn that are not the guard's: what they are refused is an ordinary OSError.
_REQUESTED = (
    "pipe2",
    "dup2",
    "setsid",
    "setpgid",
    "setgroups",
    "setregid",
    "setreuid",
    "fcntl(F_SETFD)",
    "fcntl(F_DUPFD_CLOEXEC)",
    "close_range(CLOSE_RANGE_UNSHARE)",
    "malloc",
    "mmap",
)


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
    paths: Sequence[Any],
    args: Sequence[Any],
    env: Sequence[Any] | None = None,
    keep_fds: Iterable[int] = (),
    cwd: Any = None,
    groups: Sequence[int] | None = None,
    executable: Any = None,
) -> None:
    """Executes the first of ``paths`` that is there in a new child, as ``request`` and these arguments say.

    Strings are str, bytes or path-like.

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
        directory = ffi.from_buffer(_strings([cwd]))
        request.cwd = directory
    if groups is not None or request.gid >= 0 or request.uid >= 0:
        from . import _bin

        launcher = ffi.from_buffer(_strings([_bin.LAUNCH]))
        request.launcher = launcher
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


def _strings(strings: Sequence[Any]) -> bytes:
    """One after the other, with a NUL in between: str, bytes or path-like."""
    try:
        joined = os.fsencode("\0".join(strings))
    except TypeError:
        joined = b"\0".join(map(os.fsencode, strings))
    if joined.count(b"\0") >= len(strings) and joined:
        raise ValueError("embedded null byte")
    return joined


def pidfd_open(pid: int) -> int:
    fd: int = lib.og_pidfd_open(pid)
    if fd < 0:
        _fail(fd)
    return fd


# A program may close our fds, and get their numbers again for its own. So a pidfd comes with its identity below: what
# `pidfd_identity` said when it was made, or 0. OSError (EBADF) if it is not that process's any more.


pidfd_identity: Callable[[int], int] = lib.og_pidfd_identity


def pidfd_check(pidfd: int, identity: int) -> None:
    if (code := lib.og_pidfd_check(pidfd, identity)) < 0:
        _fail(code, os_error)


#: Closes it, unless it is somebody else's by now.
pidfd_close: Callable[[int, int], None] = lib.og_pidfd_close
#: Reaps the child if it has ended, and gives its lifeline back, from `lifeline_held`.
pidfd_reap: Callable[[int, int, Sequence[int]], None] = lib.og_pidfd_reap


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


def pidfd_wait(pidfd: int, identity: int) -> int | None:
    """As `pidfd_status`, when the child has ended. InterruptedError after a signal: handlers have run by then."""
    code: int = lib.og_pidfd_wait(pidfd, identity)
    if code <= _FAILED:
        _fail(code - _FAILED, os_error)
    return None if code == _RUNNING else code


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
            pause()
            code = _reaped_status(pidfd, identity)
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
            milliseconds = int(min(max(deadline - time.monotonic(), 0) * 1000 + 0.999, 2**31 - 1))
        ready: int = _wait_readable(fd, milliseconds)
        if ready >= 0:
            return ready != 0
        if ready != -errno.EINTR:  # else Python's handlers have run by now: PEP 475
            _fail(ready, os_error)


def pause() -> None:
    """A moment before a retry, for those who hold a lock: time.sleep() may be gevent's, and run other greenlets."""
    _wait_readable(-1, int(_RETRY * 1000))


def epoll_create() -> int:
    """The fd of a new epoll(7) that `epoll_is_ours` knows; one at a time."""
    fd: int = lib.og_epoll_create()
    if fd < 0:
        _fail(fd, os_error)
    return fd


def epoll_is_ours(epoll: int) -> bool:
    return bool(lib.og_epoll_is_ours(epoll))

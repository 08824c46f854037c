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

    from .multiprocessing._below import Supervised

    class Origin(Protocol):
        """Where this process came from, as its parent's at-fork handlers saw it: struct og_origin of shim_api.h."""

        parent: int
        by_main_thread: bool  # 0 or 1
        lifeline: int
        armed: int
        armed_signal: int
        held_by_parent: bool  # 0 or 1
        flat: bool  # 0 or 1


_RUNNING: int = lib.OG_RUNNING
_FAILED: int = lib.OG_FAILED
_RETRY = 0.001  # seconds


def _fail(code: int, error: Callable[[int, str], OSError] = guard_error, call: Any = None) -> NoReturn:
    raise error(-code, ffi.string(call or lib.og_failed_call()).decode())


if (_code := lib.og_init()) < 0:
    _fail(_code, os_error)


# The next two return the struct and what gives all back when it is collected: to be kept side by side. In a cycle
# Python finalises the latter also where a finaliser brings its owner back, a Popen that runs yet, which needs the
# struct still.


def child() -> tuple[Any, object]:
    """What a parent holds for one child: a struct og_child of csrc/shim_api.h, empty.

    Calls fill it in themselves, so that no signal handler gets between the opening of an fd and its owner. What gives
    all back leaves out the pidfd of a child that may run yet.
    """
    struct = ffi.new("struct og_child *", {"lifeline": -1, "strand": -1, "pidfd": -1})
    return struct, ffi.gc(struct, lib.og_child_free)


def lifeline_open(held: Any, *, pdeathsig: bool, signal: int = 9, for_hook: bool = False) -> None:
    """Opens a description for one child to be armed on, and leaves it in ``held``, from `child`.

    ``signal``: what the child will be sent.
    ``pdeathsig``: the child will be forked and shall have that layer too, if this is the main thread; whether it
    will be allowed to is found out here, before there is a child (seccomp filters are inherited). A spawned one
    tells by itself.
    ``for_hook``: somebody else will fork that child, which then arms itself on this number. Other forked children
    have no copy of it; until that child has armed itself, this one is copied to all.
    """
    if (code := lib.og_lifeline_open(held, signal, pdeathsig, for_hook)) < 0:
        _fail(code)


#: The child is armed: its number, ``held.lifeline``, is closed here. `fork_armed` and `spawn` do so by themselves.
lifeline_let_go: Callable[[Any], None] = lib.og_lifeline_let_go
#: At any time: it is not used again while its child lives, or may still arm itself.
lifeline_give_back: Callable[[Any], None] = lib.og_lifeline_give_back
#: The pid armed on what is in ``held``; 0 if nobody is yet, and once that process has been reaped.
lifeline_owner: Callable[[Any], int] = lib.og_lifeline_owner


def fd() -> tuple[Any, object]:
    """A place for an fd of ours: a struct own_fd of csrc/shim_api.h."""
    struct = ffi.new("struct own_fd *", {"fd": -1})
    return struct, ffi.gc(struct, lib.og_close_if_ours)


def pipe(reader: Any, writer: Any, *, keep_from_forks: bool = False) -> None:
    """``os.pipe()`` into two of `fd`. None gets the numbers of stdio; no forked child keeps the writer if told so."""
    if (code := lib.og_pipe(reader, writer, keep_from_forks)) < 0:
        _fail(code, os_error)


def duplicate(copy: Any, fd: int) -> None:
    """``os.dup(fd)`` into one of `fd`."""
    if (code := lib.og_duplicate(copy, fd)) < 0:
        _fail(code, os_error)


fd_is_ours: Callable[[Any], int] = lib.og_still_ours
fd_close: Callable[[Any], None] = lib.og_close_if_ours


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


def arm_next_fork(held: Any) -> bool:
    """The next `fork_armed` of this thread arms its child on that lifeline; with PDEATHSIG too if True."""
    pdeathsig: int = _arm_next_fork(held)
    if pdeathsig < 0:
        _fail(pdeathsig)
    return pdeathsig != 0


def fork_armed() -> int:
    """``os.fork()`` whose child is armed before any Python runs in it, after `arm_next_fork`.

    The child returns from it when this process has its pidfd, in ``held``. If it raises, there is no child.
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


supervised: Supervised | None = None  #: in a worker under a supervisor
#: The description that the child of `fork_armed` is armed on.
armed_next_fork: Callable[[], int] = lib.og_armed_next_fork
#: After an exception between a fork and `fork_armed`'s return: ends and reaps the child whose pid was lost there.
abandon: Callable[[], None] = lib.og_abandon


def arm(fd: int, *, pdeathsig: bool) -> None:
    """Arms the calling process on ``fd``, which its parent opened; dies here if that is gone already."""
    if (code := lib.og_arm(fd, pdeathsig)) < 0:
        _fail(code)


def arm_inherited(signal: int) -> None:
    """Arms the calling forked process on the lifeline of its parent, on a description of its own."""
    if (code := lib.og_arm_inherited(signal)) < 0:
        _fail(code)


def rehearse_pdeathsig() -> None:
    """OSError if a child of this thread would be refused PR_SET_PDEATHSIG: seccomp filters are inherited."""
    if (code := lib.og_rehearse_pdeathsig()) < 0:
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


def armed_still() -> bool:
    """Whether that would still reach this process: not after some changes of its uids (csrc/credentials.c)."""
    return bool(lib.og_armed_still())


def arm_again() -> None:
    """After a change of uids: on the same description, with the credentials of now."""
    if (code := lib.og_arm_again()) < 0:
        _fail(code)


def is_global_root() -> bool:
    """Whether this process is root, and not of a user namespace alone: its lifelines reach whoever it starts."""
    return bool(lib.og_is_global_root())


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


def spawn_request(held: Any) -> Any:
    """A struct og_spawn of csrc/shim_api.h that asks for a child as this process is, without fds above 2.

    `spawn` fills in ``held``, from `child`, which must live as long.
    """
    request = ffi.new("struct og_spawn *")
    lib.og_spawn_defaults(request)
    request.child = held
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
    _fail(code, os_error if request.child.lifeline < 0 or call in _REQUESTED else guard_error, request.failed_call)


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


def pidfd_hold(held: Any, pid: int) -> None:
    """The same, into ``held``, from `child`."""
    if (code := lib.og_pidfd_hold(held, pid)) < 0:
        _fail(code)


# A program may close our fds, and get their numbers again for its own. So a pidfd comes with its identity below, that
# of struct og_child. OSError (EBADF) if it is not that process's any more.


def pidfd_check(pidfd: int, identity: int) -> None:
    if (code := lib.og_pidfd_check(pidfd, identity)) < 0:
        _fail(code, os_error)


#: Closes it, unless it is somebody else's by now.
pidfd_close: Callable[[Any], None] = lib.og_pidfd_close
#: Reaps the child if it has ended, and gives its lifeline back.
child_reap: Callable[[Any], None] = lib.og_child_reap


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


def epoll_mark(epoll: int) -> None:
    """`epoll_is_ours` will know it; one at a time."""
    if (code := lib.og_epoll_mark(epoll)) < 0:
        _fail(code, os_error)


def pause() -> None:
    """A moment before a retry, for those who hold a lock: time.sleep() may be gevent's, and run other greenlets."""
    _wait_readable(-1, int(_RETRY * 1000))


def epoll_is_ours(epoll: int) -> bool:
    return bool(lib.og_epoll_is_ours(epoll))

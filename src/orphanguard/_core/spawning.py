"""A start by clone and exec, whose child is armed before the exec: the calls of csrc/shim/spawn.c.

A start that fails leaves no process. Needs a lifeline that `lifelines.open` has opened; without one, the child is
unguarded.
"""

from __future__ import annotations

import os

from .errors import guard_error, os_error
from .native import fail, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# The steps of a spawn that the caller asks for. If the kernel refuses one of them, that is an ordinary OSError; if it
# refuses any other step, the guard is unavailable.
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


def request(held: Any) -> Any:
    """A struct og_spawn of csrc/shim/shim_api.h: a child like this process, without fds above 2.

    `spawn` fills in ``held``, which must live as long as the request.
    """
    struct = ffi.new("struct og_spawn *")
    lib.og_spawn_defaults(struct)
    struct.child = held
    return struct


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
    """Executes the first of ``paths`` that exists in a new child, as ``request`` and these arguments say.

    Strings are str, bytes or path-like.

    Raises ValueError for a NUL inside a string, and the OSError of the call that failed: that of execve() has
    ``executable`` as its filename, that of chdir() has ``cwd``. Then no process is left.
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
        from .._bin import LAUNCH

        launcher = ffi.from_buffer(_strings([LAUNCH]))
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
    fail(code, os_error if request.child.lifeline < 0 or call in _REQUESTED else guard_error, request.failed_call)


def _strings(strings: Sequence[Any]) -> bytes:
    """The strings one after the other, with a NUL in between."""
    try:
        joined = os.fsencode("\0".join(strings))
    except TypeError:
        joined = b"\0".join(map(os.fsencode, strings))
    if joined.count(b"\0") >= len(strings) and joined:
        raise ValueError("embedded null byte")
    return joined

"""How a program is started: the plan of its guard, and the arguments of `subprocess.Popen` made ready for execve(2).

`orphanguard._stdlib.subprocess` calls `prepare` and then, for a program without a ``preexec_fn``, `spawn`.
Arguments that `subprocess.Popen` refuses are refused alike. Needs `arming`, `lifelines` and
`spawning`; for a tree, `supervisor`.
"""

from __future__ import annotations

import errno
import os

from . import arming, lifelines, spawning

TYPE_CHECKING = False  # importing typing would cost 2 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .child import Child
    from .containment import Tree
    from .supervisor import Options

_SIGKILL = 9


class Plan:
    """How a program is to be guarded: what the keywords say that `orphanguard.Popen` adds.

    Raises ValueError or TypeError if there is no such ``death_signal``, ``tree`` or ``grace``.
    """

    def __init__(self, death_signal: int | str | None, guard: bool, tree: Tree, grace: float | None) -> None:
        number: int | None = None
        if death_signal is not None:
            from .guard import signal_number

            number = signal_number(death_signal)
        self.signal = _SIGKILL if number is None else number
        self.guarded = guard
        self.tree: Options | None = None
        self.pdeathsig = False  #: armed in the program besides the lifeline; known when it has been started
        if tree is not False or grace is not None:
            from .supervisor import Options

            self.tree = Options(tree, grace, number)
            self.signal = _SIGKILL  # for the supervisor, which itself sends the death signal to the command
            if not guard:
                raise ValueError("tree and grace don't go together with guard=False")


def prepare(child: Child, plan: Plan, *, for_hook: bool) -> None:
    """Opens the lifeline of ``child`` and makes its supervisor, as far as ``plan`` asks for them.

    ``for_hook``: the program will be forked for a ``preexec_fn``.
    """
    if for_hook:
        # csrc/shim/spawn.c decides the same for the others, and reports what its child is refused. No reason comes out
        # of a forked child, so PDEATHSIG is rehearsed before there is one.
        plan.pdeathsig = plan.guarded and plan.signal == _SIGKILL and arming.is_main_thread()
    if plan.guarded:
        lifelines.open(child.held, pdeathsig=plan.pdeathsig, signal=plan.signal, for_hook=for_hook)
    if plan.tree is not None:
        from .supervisor import Supervisor

        child.supervisor = Supervisor(plan.tree)


def spawn(  # noqa: PLR0917 (keywords take time)
    child: Child,
    plan: Plan,
    args: list[Any],
    executable: Any,
    close_fds: bool,
    pass_fds: Any,
    cwd: Any,
    env: Any,
    stdio: tuple[int, int, int],
    restore_signals: bool,
    gid: int | None,
    gids: Sequence[int] | None,
    uid: int | None,
    umask: int,
    new_session: bool,
    process_group: int,
) -> None:
    """Starts the program by the shim's clone(): no page tables are copied, and no Python runs in the child.

    ``stdio``: the fds of this process that become 0, 1 and 2; -1 leaves one as it is. The others are the arguments of
    `subprocess.Popen`, after `command`.
    """
    paths = _paths(executable, env)
    environment = None if env is None else _environment(env)
    keep_fds: Sequence[int] = _fds(pass_fds) if pass_fds != () else ()
    if child.lifeline >= 0 and child.lifeline in (*stdio, *keep_fds):
        # The program has closed the fd that it wants to pass on, and ours has got its number since.
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    request = spawning.request(child.held)
    request.signal = plan.signal
    request.close_fds, request.restore_signals = bool(close_fds), bool(restore_signals)
    request.new_session = bool(new_session)
    request.umask, request.process_group = umask, process_group
    request.stdio = stdio
    if gid is not None:
        request.gid = _id(gid, "gid")
    if uid is not None:
        request.uid = _id(uid, "uid")
    groups = None if gids is None else _groups(gids)
    supervisor: Any = child.supervisor
    if supervisor is not None:
        args = supervisor.command(child.lifeline, args, paths, gid, groups, uid)
        executable = args[0]
        paths, keep_fds = args[:1], [*keep_fds, child.lifeline, *supervisor.fds]
        groups, request.gid, request.uid = None, -1, -1
    spawning.spawn(request, paths, args, environment, keep_fds, cwd, groups, executable)
    plan.pdeathsig = bool(request.pdeathsig)


def below_supervisor(child: Child, args: Any, executable: Any, shell: bool, env: Any) -> list[Any]:
    """The argv of the supervisor of ``child``, whose command these arguments of `subprocess.Popen` describe."""
    args, executable = command(args, executable, shell)
    assert child.supervisor is not None
    return child.supervisor.command(child.lifeline, args, _paths(executable, env))


def command(args: Any, executable: Any, shell: bool) -> tuple[list[Any], Any]:
    """The argv and the executable that the standard library makes of these arguments."""
    if isinstance(args, (str, bytes)):
        args = [args]
    elif not isinstance(args, (list, tuple)) and isinstance(args, os.PathLike):  # the check for PathLike takes long
        if shell:
            raise TypeError("path-like args is not allowed when shell is true")
        args = [args]
    else:
        args = list(args)
    if shell:
        args = ["/bin/sh", "-c", *args]
        if executable:
            args[0] = executable
    return args, args[0] if executable is None else executable


def _paths(executable: Any, env: Any) -> list[Any]:
    """The files that execvpe() would try."""
    path = os.fsencode(executable)
    if b"/" in path:
        return [executable]
    return [os.path.join(os.fsencode(directory), path) for directory in os.get_exec_path(env)]


def _fds(numbers: Any) -> list[int]:
    fds = [int(fd) for fd in numbers]
    if not all(0 <= fd < 2**31 for fd in fds):
        raise ValueError("bad value(s) in fds_to_keep")
    return fds


def _environment(env: Any) -> list[bytes]:
    result = []
    for name, value in env.items():
        encoded = os.fsencode(name)
        if b"=" in encoded:
            raise ValueError("illegal environment variable name")
        result.append(encoded + b"=" + os.fsencode(value))
    return result


_NO_ID = 2**32 - 1  # (uid_t)-1 means "as here"


def _id(number: int, what: str) -> int:
    if number >= _NO_ID:
        raise OverflowError(f"{what} is greater than maximum")
    return number


def _groups(numbers: Sequence[int]) -> Sequence[int]:
    if len(numbers) > 2**16:  # NGROUPS_MAX of linux/limits.h
        raise ValueError("too many extra_groups")
    if not all(0 <= number <= _NO_ID for number in numbers):
        raise ValueError("invalid group id")
    return numbers

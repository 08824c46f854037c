"""``subprocess`` with guarded programs: ``from orphanguard import subprocess`` is the whole migration.

`Popen` and what is built on it are ours; the other public names are the standard module's.

The one place that leans on private parts of ``subprocess``: CPython 3.10 to 3.15. What is relied on, and checked
by tests/test_stdlib_drift.py:

- ``Popen.__init__`` calls ``_execute_child`` with the 21 positional arguments that are named below, and with
  ``process_group`` as the 22nd from 3.11 on; it cleans up the pipes if that raises.
- ``Popen.__init__`` makes its pipes by ``_get_handles(stdin, stdout, stderr)``, which returns both ends of each in that
  order. Before 3.11.4 it does so by ``os.pipe``, and forgets them in all failures but those of ``_execute_child``.
- ``_execute_child`` sets ``pid`` and ``_child_created``, and ends by ``_close_pipe_fds``, which sets
  ``_closed_child_pipe_fds`` and, where there is no pipe, does nothing else.
- ``poll`` calls ``_internal_poll``; so do, with a ``_deadstate``, ``__del__``, and each start for those that were
  dropped while they ran. ``wait`` calls ``_wait``. Both leave the exit code in ``returncode``, and nothing else but
  ``send_signal`` uses the pid.
- ``run``, ``call``, ``check_call``, ``check_output``, ``getoutput`` and ``getstatusoutput`` look up ``Popen``, or
  each other, by their global names.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal as _signal
import subprocess as _standard
import sys
from typing import TYPE_CHECKING, Any, AnyStr

from . import _gevent, _native
from ._borrowed import Overlay, replaced
from ._fds import NotedFd
from ._pidfd import Child
from ._signature import shows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._fds import OwnFd
    from ._guard import Containment, Guard, Tree
    from ._supervisor import Options, Supervisor

if not TYPE_CHECKING:
    _standard = _gevent.Unpatched(_standard)

__all__ = ["Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"]
__all__ += [name for name in _standard.__all__ if name not in __all__]


#: Not gevent's, which it has by then put in the place of the standard library's.
_PIPE, _DEVNULL = _standard.PIPE, _standard.DEVNULL  # looked up once: where gevent may patch, that takes long
_FORGETS_PIPES = sys.version_info < (3, 11, 4) and _standard.Popen.__module__ == "subprocess"


class Popen(_standard.Popen[AnyStr]):
    """`subprocess.Popen` whose program dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `subprocess.Popen`, and:

    ``death_signal``: what the kernel sends when this process is gone, a number or a name (``"SIGTERM"``, ``"TERM"``).
    Another one than SIGKILL is only a signal, not a death.
    ``guard``: False starts the program unguarded.
    ``tree``: ends everything that the program starts as well, setsid and double forks included: when this process
    is gone, when the program ends, and on `kill`. ``True`` or ``"subreaper"`` needs nothing and changes nothing that
    the program can see; ``"cgroup"`` and ``"pidns"`` contain better, on hosts that allow it.
    ``grace``: seconds between the death signal to the tree, SIGTERM unless ``death_signal`` says otherwise, and
    SIGKILL, although this process is gone. Implies ``tree=True``.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended, the kernel kills the program;
    while this process lives, nothing of ours kills it, whichever thread started it, unless this process closes
    all its fds or executes another program. A program that becomes root in all its user ids under a parent that
    is not (``sudo``) escapes; docs/design.md lists what else does. What the program itself starts is not covered
    without ``tree``.

    With ``tree`` there is a supervisor between the two: ``pid`` is the supervisor's, ``command_pid`` the program's,
    ``containment`` how the tree is held together. The supervisor is in the program's session and process group, and
    ends as the program did. `kill` is for the whole tree and so is `terminate`, which with a ``grace`` ends it in
    good order; `send_signal` is for the program. What outlives SIGKILL for five seconds is named on stderr, and
    ``returncode`` is 125. Somebody who kills the supervisor itself ends the program alone, except under ``"pidns"``.

    Signals go to the program by its pidfd, never to another process that got its pid. ``wait(timeout)`` sleeps
    until the program ends; it does not poll. ``returncode`` is right even if somebody else reaped the program, on
    Linux 6.15 and later; before that it is 255 then, with a `StatusLostWarning`.

    Raises `GuardUnavailable` (an OSError) if the kernel can't keep the promise, and ValueError if there is no
    such ``death_signal``, ``tree`` or ``grace``. A failed start leaves nothing behind.
    """

    command_pid: int | None = None  #: the program's, under a supervisor
    containment: Containment | None = None  #: ``"subreaper"``, ``"cgroup"`` or ``"pidns"``

    _child: Child | None = None
    _held_while_it_runs = False
    _tree: Options | None = None
    _pdeathsig = False
    _pipes: Sequence[NotedFd] = ()  # until the start has succeeded
    _devnull_of_ours: NotedFd | None = None

    @shows(_standard.Popen.__init__)
    def __init__(
        self,
        *args: Any,
        death_signal: int | str | None = None,
        guard: bool = True,
        tree: Tree = False,
        grace: float | None = None,
        **kwargs: Any,
    ) -> None:
        if death_signal is not None:
            from ._guard import signal_number

            death_signal = signal_number(death_signal)
        self._death_signal = int(_signal.SIGKILL if death_signal is None else death_signal)
        self._guarded = guard
        if tree is not False or grace is not None:
            from ._supervisor import Options

            self._tree = Options(tree, grace, death_signal)
            self._death_signal = int(_signal.SIGKILL)  # the supervisor's; it knows the other one
            if not guard:
                raise ValueError("tree and grace don't go together with guard=False")
        try:
            if _gevent.patched():
                _gevent.borrowed("__init__")(self, *args, **kwargs)
            else:
                super().__init__(*args, **kwargs)
        except BaseException:
            if self._child is not None:  # started, but a signal handler has raised: nobody will get this handle
                self._child.take_back()
                self.returncode = self._child.returncode
            if self._pipes:
                self._close_pipes()
            raise
        finally:
            if self._devnull_of_ours is not None:
                self._devnull_of_ours.close()
        self._pipes = ()

    @property
    def guard(self) -> Guard | None:
        """What is armed in the program; None if it was started with ``guard=False``."""
        from ._guard import started_child, supervised_child

        if self._tree is not None:
            return supervised_child(self._tree.containment, self._tree.signal)
        if not self._guarded:
            return None
        flat = self._child.flat if self._child is not None else 0
        return started_child(pdeathsig=self._pdeathsig, signal=self._death_signal, flat=flat)

    def _close_pipes(self) -> None:
        """What the standard library has closed by now is no longer ours; what it has made a file of, that closes."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        for end in self._pipes:
            end.close()

    def _get_handles(self, *given: Any) -> Any:
        """Notes the pipes. An ``encoding`` that does not exist makes the standard library forget one."""
        if _FORGETS_PIPES:
            return self._get_handles_before_3_11_4(*given)
        handles = super()._get_handles(*given)  # type: ignore[misc]
        if _PIPE in given:
            self._pipes = [NotedFd(fd) for number, fd in enumerate(handles) if given[number // 2] == _PIPE]
        return handles

    def _get_handles_before_3_11_4(self, *given: Any) -> Any:
        self._pipes = pipes = list[NotedFd]()

        def pipe() -> tuple[int, int]:
            ends = os.pipe()
            pipes.extend(map(NotedFd, ends))
            return ends

        if _DEVNULL in given:  # forgotten as well, and not to be known again: it is no pipe
            self._devnull_of_ours = NotedFd(os.open(os.devnull, os.O_RDWR))
            given = tuple(self._devnull_of_ours.fd if what == _DEVNULL else what for what in given)
        make = super()._get_handles.__func__  # type: ignore[misc]
        return replaced(make, os=Overlay(os, pipe=pipe))(self, *given)

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
        _gevent.check()
        forks = preexec_fn is not None
        if forks:  # as csrc/spawn.c decides for the others
            self._pdeathsig = self._guarded and self._death_signal == _signal.SIGKILL and _native.is_main_thread()
        # What a spawned child is refused comes back. Out of a forked one no reason does, so it is rehearsed.
        rehearse = self._pdeathsig
        child = Child(closes=True)
        try:
            if self._guarded:
                _native.lifeline_open(child.held, pdeathsig=rehearse, signal=self._death_signal, for_hook=forks)
            if self._tree is not None:
                from ._supervisor import Supervisor

                child.supervisor = Supervisor(self._tree)
            if forks:
                self._fork(child, args, executable, preexec_fn, *rest)
            else:
                self._spawn(child, args, executable, *rest)
            if child.supervisor is not None:
                child.supervisor.started()
                child.supervisor.await_command(child.pidfd, _command(args, executable, rest[_SHELL])[1])
                self.command_pid, self.containment = child.supervisor.command_pid, child.supervisor.containment
            self._child = child
            self.pid = child.pid
            self._child_created = True
        except BaseException as error:
            child.take_back()
            self._child_created = False  # or it would be one that was dropped while it ran
            if self._tree is not None and isinstance(error, OSError):
                from ._supervisor import blamed

                raise blamed(error, _command(args, executable, rest[_SHELL])[1]) from None
            raise

    def _spawn(  # noqa: PLR0917 (the standard library's order)
        self,
        child: Child,
        args: Any,
        executable: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: Any,
        creationflags: Any,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: bool,
        gid: int | None,
        gids: Sequence[int] | None,
        uid: int | None,
        umask: int,
        start_new_session: bool,
        process_group: int = -1,
    ) -> None:
        """By the shim's clone(): no page tables are copied, no Python runs in the child."""
        args, executable = _command(args, executable, shell)
        sys.audit("subprocess.Popen", executable, args, cwd, env)
        paths = _paths(executable, env)
        environment = None if env is None else _environment(env)
        keep_fds: Sequence[int] = _fds(pass_fds) if pass_fds != () else ()
        if child.lifeline >= 0 and child.lifeline in (p2cread, c2pwrite, errwrite, *keep_fds):
            # The program has closed it; it was the lowest free number since, and ours is not to be passed on.
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        request = _native.spawn_request(child.held)
        request.signal = self._death_signal
        request.close_fds, request.restore_signals = bool(close_fds), bool(restore_signals)
        request.new_session = bool(start_new_session)
        request.umask, request.process_group = umask, process_group
        request.stdio = (p2cread, c2pwrite, errwrite)
        if gid is not None:
            request.gid = _id(gid, "gid")
        if uid is not None:
            request.uid = _id(uid, "uid")
        groups = None if gids is None else _groups(gids)
        supervisor: Any = child.supervisor
        if supervisor is not None:
            args = _supervised(supervisor, child.lifeline, args, paths, gid, groups, uid)
            executable = args[0]
            paths, keep_fds = args[:1], [*keep_fds, child.lifeline, *supervisor.fds]
            groups, request.gid, request.uid = None, -1, -1
        _native.spawn(request, paths, args, environment, keep_fds, cwd, groups, executable)
        self._pdeathsig = bool(request.pdeathsig)
        pipes = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        if max(pipes) < 0:
            self._closed_child_pipe_fds = True  # all that the other would do; it takes 2 % of a start
        else:
            self._close_pipe_fds(*pipes)

    def _fork(self, child: Child, args: Any, executable: Any, preexec_fn: Callable[[], Any], *given: Any) -> None:
        """By the standard library's fork(), for a hook of the user's."""

        def hook() -> None:
            self._arm(child.lifeline)
            preexec_fn()
            self._arm(child.lifeline)  # again: the hook may have changed the ids, which clears PDEATHSIG

        last_fork = _native.last_fork()
        rest: Any = given
        supervisor: Any = child.supervisor
        if supervisor is not None:
            args, executable = _command(args, executable, rest[_SHELL])
            args = _supervised(supervisor, child.lifeline, args, _paths(executable, rest[_ENV]))
            executable = None
            fds = (*rest[_PASS_FDS], child.lifeline, *supervisor.fds)
            rest = (*rest[:_PASS_FDS], fds, *rest[_PASS_FDS + 1 : _SHELL], False, *rest[_SHELL + 1 :])
        try:
            execute: Any = super()._execute_child  # type: ignore[misc]
            if _gevent.patched():
                execute = functools.partial(_gevent.borrowed("_execute_child"), self)
            execute(args, executable, hook if self._guarded else preexec_fn, *rest)
            child.adopt_forked(self.pid)
        except BaseException as error:
            # A child whose hook or program could not be run has been reaped; one is left after an interruption.
            # Its pid is lost if that came at the return of the fork. But it is about to make the lifeline its own.
            pid = self.pid if self._child_created else 0
            if self._guarded and not pid and _native.last_fork() != last_fork and not isinstance(error, OSError):
                pid = child.owner(patience=1)
            if pid and self.returncode is None and child.returncode is None:
                child.adopt_forked(pid, patience=1)
            raise

    def _arm(self, lifeline: int) -> None:
        try:
            _native.arm(lifeline, pdeathsig=self._pdeathsig)
        except OSError as error:
            from .hooks import refuse

            refuse("Popen", str(error))

    def _close_pipe_fds(self, *fds: int) -> None:
        if _gevent.patched():
            _gevent.borrowed("_close_pipe_fds")(self, *fds)
        else:
            super()._close_pipe_fds(*fds)  # type: ignore[misc]

    def _communicate(self, *args: Any) -> Any:
        if _gevent.patched():
            return _gevent.borrowed("_communicate")(self, *args)
        return super()._communicate(*args)  # type: ignore[misc]

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        child = self._child
        if child is None:
            return self.returncode
        if self.returncode is None:
            # _deadstate: asked by __del__, or by a start for all those that were dropped while they ran.
            try:
                self.returncode = _deadstate if child.inherited else child.poll()
            except OSError:
                if _deadstate is None:
                    raise
                self.returncode = _deadstate
            if child.watched:
                self._tell(child, finaliser=_deadstate is not None)
        elif _deadstate is not None and child.returncode is None and not child.inherited:
            child.drop()  # asyncio reaps by itself, and sets our returncode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        child = self._child
        if self.returncode is None and child is not None:
            returncode = child.wait(timeout)
            if returncode is None:
                if child.inherited:
                    raise ChildProcessError(errno.ECHILD, f"process {self.pid} is not a child of this process")
                raise _standard.TimeoutExpired(self.args, timeout)  # type: ignore[arg-type]
            self.returncode = returncode
            if child.watched:
                self._tell(child)
        return self.returncode

    # For orphanguard.wait:

    def _tell(self, child: Child, finaliser: bool = False) -> None:
        try:
            from ._waiting import registry
        except ImportError:  # the interpreter is shutting down
            return
        if self.returncode is not None and not child.inherited:
            if finaliser:
                registry().ended_unless_busy(child)
            else:
                registry().ended(child)

    def _started_child(self) -> Child:
        if self._child is None:
            raise ValueError("process not started: this Popen() has failed")
        if self._child.inherited:
            raise ValueError(f"can only wait for a child process, not {self!r}")
        return self._child

    def _seen_finished(self) -> None:
        if self.returncode is None and self._child is not None:
            self.returncode = self._child.returncode

    def _dup_pidfd(self) -> OwnFd:
        """For an event loop to watch."""
        from ._fds import duplicate

        assert self._child is not None
        return duplicate(self._child.pidfd)

    def send_signal(self, sig: int) -> None:
        """Sends ``sig`` to the program, by its pidfd. Does nothing if it has been reaped."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.send_signal(sig)

    def terminate(self) -> None:
        """SIGTERM to the program; to the whole ``tree``, which is ended if there is a ``grace``."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """SIGKILL to the program; to the whole ``tree``."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.kill()

    def __repr__(self) -> str:
        text = super().__repr__()
        runs = self._child is not None and self.returncode is None
        return text[:-1] + " guarded>" if runs and self._guarded else text


#: Where these are in what `_execute_child` gets, after ``preexec_fn``.
_PASS_FDS, _ENV, _SHELL = 1, 3, 6


def _supervised(supervisor: Supervisor, lifeline: int, args: Sequence[Any], *what: Any) -> list[Any]:
    """The supervisor's argv."""
    from ._supervisor import command, words

    return command(lifeline, *supervisor.fds, *supervisor.arguments, *words(*what), *args)


def _command(args: Any, executable: Any, shell: bool) -> tuple[list[Any], Any]:
    """As the standard library has it."""
    if isinstance(args, (str, bytes)):
        args = [args]
    elif not isinstance(args, (list, tuple)) and isinstance(args, os.PathLike):  # that one's check takes long
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
    """What execvpe() would try."""
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


def _borrowed(function: Any, name: str) -> Any:
    """The standard function, with ``name`` looked up in this module: at each call, so that a test's mock is heard."""

    def look_up(*args: Any, **kwargs: Any) -> Any:
        return globals()[name](*args, **kwargs)

    borrowed = replaced(function, **{name: look_up})
    functools.update_wrapper(borrowed, function)
    borrowed.__module__ = __name__  # pickle asks for it
    return borrowed


call = _borrowed(_standard.call, "Popen")
check_call = _borrowed(_standard.check_call, "call")
run = _borrowed(_standard.run, "Popen")
check_output = _borrowed(_standard.check_output, "run")
getstatusoutput = _borrowed(_standard.getstatusoutput, "check_output")
getoutput = _borrowed(_standard.getoutput, "getstatusoutput")

shows(Popen.__init__, _standard.call)(call)
shows(Popen.__init__, _standard.call)(check_call)
shows(Popen.__init__, _standard.run)(run)
shows(Popen.__init__, _standard.run, without=("stdout", "capture_output", "check"))(check_output)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # list2cmdline and others are public without being in __all__
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""The one file that leans on private parts of ``subprocess``: CPython 3.10 to 3.15.

What it relies on, and tests/seams/test_drift.py checks:

- ``Popen.__init__`` calls ``_execute_child`` with the 21 positional arguments that are named below, and with
  ``process_group`` as the 22nd from 3.11 on. It cleans up the pipes if that raises.
- ``Popen.__init__`` makes its pipes by ``_get_handles(stdin, stdout, stderr)``, which returns both ends of each in that
  order. Before 3.11.4 it does so by ``os.pipe``, and forgets them in all failures but those of ``_execute_child``.
- ``_execute_child`` sets ``pid`` and ``_child_created``, and ends by ``_close_pipe_fds``, which sets
  ``_closed_child_pipe_fds`` and, where there is no pipe, does nothing else.
- ``poll`` calls ``_internal_poll``. ``__del__`` calls it with a ``_deadstate``; so does each start, for programs whose
  Popen was dropped while they ran. ``wait`` calls ``_wait``. Both leave the exit code in ``returncode``, and nothing
  else but ``send_signal`` uses the pid.
- ``run``, ``call``, ``check_call``, ``check_output``, ``getoutput`` and ``getstatusoutput`` look up ``Popen``, or
  each other, by their global names.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import subprocess as _standard
import sys

from .._core import arming, forking, gevent, program
from .._core.borrowed import Overlay, replaced
from .._core.child import Child
from .._core.errors import refuse
from .._core.fds import NotedFd

TYPE_CHECKING = False  # importing typing would cost 2 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, AnyStr

if not TYPE_CHECKING:
    AnyStr = object  # any type: Popen[...] is for type checkers
    # gevent may have put its own functions in the place of the standard library's by then
    _standard = gevent.Unpatched(_standard)

_PIPE, _DEVNULL = _standard.PIPE, _standard.DEVNULL  # looked up once: where gevent may patch, a look-up takes long
_FORGETS_PIPES = sys.version_info < (3, 11, 4) and _standard.Popen.__module__ == "subprocess"


class Popen(_standard.Popen[AnyStr]):
    """The standard Popen, with our start and our wait in the place of its own.

    A subclass sets ``_plan``, and calls `_start` in the place of `__init__`.
    """

    _plan: program.Plan
    _child: Child | None = None
    _pipes: Sequence[NotedFd] = ()  # until the start has succeeded
    _devnull_of_ours: NotedFd | None = None

    def _start(self, *args: Any, **kwargs: Any) -> None:
        """The standard ``__init__``. The caller's own ``try`` must call `_take_back` if this raises, or after it."""
        try:
            if gevent.patched():
                gevent.borrowed("__init__")(self, *args, **kwargs)
            else:
                super().__init__(*args, **kwargs)
        finally:
            if self._devnull_of_ours is not None:
                self._devnull_of_ours.close()

    def _take_back(self) -> None:
        """For a start that has failed, or that a signal handler has interrupted: nobody will get this handle."""
        if self._child is not None:
            self._child.take_back()
            self.returncode = self._child.returncode
        if self._pipes:
            self._close_pipes()

    # --- the pipes

    def _get_handles(self, *given: Any) -> Any:
        """Notes the pipes: for an ``encoding`` that does not exist, the standard library forgets to close one."""
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

        if _DEVNULL in given:  # the standard library forgets this fd too, and nothing tells it from any other
            self._devnull_of_ours = NotedFd(os.open(os.devnull, os.O_RDWR))
            given = tuple(self._devnull_of_ours.fd if what == _DEVNULL else what for what in given)
        make = super()._get_handles.__func__  # type: ignore[misc]
        return replaced(make, os=Overlay(os, pipe=pipe))(self, *given)

    def _close_pipes(self) -> None:
        """Closes the pipes of a failed start, except the ends that the standard library has closed."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        for end in self._pipes:
            end.close()

    def _close_pipe_fds(self, *fds: int) -> None:
        if gevent.patched():
            gevent.borrowed("_close_pipe_fds")(self, *fds)
        else:
            super()._close_pipe_fds(*fds)  # type: ignore[misc]

    def _communicate(self, *args: Any) -> Any:
        if gevent.patched():
            return gevent.borrowed("_communicate")(self, *args)
        return super()._communicate(*args)  # type: ignore[misc]

    # --- the start

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
        gevent.check()
        child = Child(closes=True)
        try:
            program.prepare(child, self._plan, for_hook=preexec_fn is not None)
            if preexec_fn is not None:
                self._fork(child, args, executable, preexec_fn, *rest)
            else:
                self._spawn(child, args, executable, *rest)
            if child.supervisor is not None:
                child.supervisor.started()
                child.supervisor.await_command(child.pidfd, program.command(args, executable, rest[_SHELL])[1])
            self._child = child
            self.pid = child.pid
            self._child_created = True
        except BaseException as error:
            child.take_back()
            self._child_created = False  # or the standard library would take it for one that was dropped while it ran
            if self._plan.tree is not None and isinstance(error, OSError):
                from .._core.supervisor import blamed

                raise blamed(error, program.command(args, executable, rest[_SHELL])[1]) from None
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
        args, executable = program.command(args, executable, shell)
        sys.audit("subprocess.Popen", executable, args, cwd, env)
        program.spawn(
            child,
            self._plan,
            args,
            executable,
            close_fds,
            pass_fds,
            cwd,
            env,
            (p2cread, c2pwrite, errwrite),
            restore_signals,
            gid,
            gids,
            uid,
            umask,
            start_new_session,
            process_group,
        )
        pipes = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        if max(pipes) < 0:
            self._closed_child_pipe_fds = True  # all that the call below would do; it takes 2 % of a start
        else:
            self._close_pipe_fds(*pipes)

    def _fork(self, child: Child, args: Any, executable: Any, preexec_fn: Callable[[], Any], *given: Any) -> None:
        """Starts the program by the standard library's fork(), which runs the user's ``preexec_fn``."""

        def hook() -> None:
            self._arm(child.lifeline)
            preexec_fn()
            self._arm(child.lifeline)  # again: the hook may have changed the ids, which clears PDEATHSIG

        last_fork = forking.last_fork()
        rest: Any = given
        supervisor: Any = child.supervisor
        if supervisor is not None:
            args, executable = program.below_supervisor(child, args, executable, rest[_SHELL], rest[_ENV]), None
            fds = (*rest[_PASS_FDS], child.lifeline, *supervisor.fds)
            rest = (*rest[:_PASS_FDS], fds, *rest[_PASS_FDS + 1 : _SHELL], False, *rest[_SHELL + 1 :])
        guarded = self._plan.guarded
        try:
            execute: Any = super()._execute_child  # type: ignore[misc]
            if gevent.patched():
                execute = functools.partial(gevent.borrowed("_execute_child"), self)
            execute(args, executable, hook if guarded else preexec_fn, *rest)
            child.adopt_forked(self.pid)
        except BaseException as error:
            # The standard library has reaped a child whose hook or program could not be run. After an interruption
            # there may be a child left. If the interruption came at the return of the fork, its pid is lost; but the
            # child is about to make the lifeline its own, which then names it.
            pid = self.pid if self._child_created else 0
            if guarded and not pid and forking.last_fork() != last_fork and not isinstance(error, OSError):
                pid = child.owner(patience=1)
            if pid and self.returncode is None and child.returncode is None:
                child.adopt_forked(pid, patience=1)
            raise

    def _arm(self, lifeline: int) -> None:
        try:
            arming.arm(lifeline, pdeathsig=self._plan.pdeathsig)
        except OSError as error:
            refuse("Popen", str(error))

    # --- the wait

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        child = self._child
        if child is None:
            return self.returncode
        if self.returncode is None:
            # With a _deadstate the caller is __del__, or a start that looks at all that were dropped while they ran.
            try:
                self.returncode = _deadstate if child.inherited else child.poll()
            except OSError:
                if _deadstate is None:
                    raise
                self.returncode = _deadstate
            if child.watched:
                self._tell(child, finaliser=_deadstate is not None)
        elif _deadstate is not None and child.returncode is None and not child.inherited:
            child.drop()  # asyncio has reaped it, and has set our returncode
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

    def _tell(self, child: Child, finaliser: bool = False) -> None:
        """Tells `orphanguard.wait` that the program has ended."""
        try:
            from .._core.waiting import registry
        except ImportError:  # the interpreter is shutting down
            return
        if self.returncode is not None and not child.inherited:
            if finaliser:
                registry().ended_unless_busy(child)
            else:
                registry().ended(child)


#: The places of these in what `_execute_child` gets, after ``preexec_fn``.
_PASS_FDS, _ENV, _SHELL = 1, 3, 6


def borrowed(function: Any, name: str, module: dict[str, Any]) -> Any:
    """The standard ``function``, which looks up ``name`` in ``module`` instead of its own module.

    It looks the name up at each call, so a test's mock is used.
    """

    def look_up(*args: Any, **kwargs: Any) -> Any:
        return module[name](*args, **kwargs)

    copy = replaced(function, **{name: look_up})
    functools.update_wrapper(copy, function)
    copy.__module__ = module["__name__"]  # pickle asks for it
    return copy

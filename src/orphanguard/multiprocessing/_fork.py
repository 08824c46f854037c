"""The fork start method: the shim's at-fork handler arms the child before any Python runs in it.

The child then waits for one byte, which the parent writes when it holds the child's pidfd. So no child runs
whose identity rests on luck (with SIGCHLD ignored it could end, and its pid be somebody else's, before
pidfd_open), and none that a failed ``start()`` would have to take back.
"""

from __future__ import annotations

import contextlib
import os
from multiprocessing import context, popen_fork
from typing import TYPE_CHECKING, Any

from .. import _native
from .._pidfd import Child
from . import _stdlib
from ._process import GuardedPopen, GuardedProcess

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


GO, STOP = b"\0", b"\1"


class Popen(GuardedPopen, popen_fork.Popen):
    method = "fork"

    def _launch(self, process_obj: BaseProcess) -> None:
        main_thread = _native.is_main_thread()
        _native.rehearse(pdeathsig=main_thread)
        lifeline = _native.lifeline_open()

        def fork(gate: int) -> int:
            pid = _native.fork_armed(lifeline, os.fork)
            if pid == 0:
                _wait_at(gate)
            return pid

        try:
            gate = _stdlib.launch_fork(self, process_obj, fork)
        except BaseException:
            _native.lifeline_close(lifeline)
            raise
        try:
            child = Child(self.pid, _native.pidfd_open(self.pid), lifeline)
            _open(gate, GO)
        except BaseException:
            _open(gate, STOP)
            _reap_unidentified(self.pid)
            _native.lifeline_close(lifeline)
            raise
        finally:
            self.finalizer()
        self.pdeathsig = main_thread
        self.adopt(child, process_obj)


def _wait_at(gate: int) -> None:
    """In the child. It must not return into the parent's code, whatever happens here."""
    try:
        if os.read(gate, 1) == GO:
            return
    except BaseException:
        pass
    os._exit(127)


def _open(gate: int, how: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # killed while it waited
        os.write(gate, how)


def _reap_unidentified(pid: int) -> None:
    """The one wait by pid: there is no pidfd, which is why the start failed."""
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
        os.waitpid(pid, 0)


class ForkProcess(GuardedProcess, context.ForkProcess):
    """`multiprocessing.context.ForkProcess` whose child dies with this process, and not before."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)

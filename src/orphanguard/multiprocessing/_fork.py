"""The fork start method: the shim's at-fork handler arms the child before any Python runs in it.

There it waits at a gate (csrc/lifeline.c) until the parent holds its pidfd.
"""

from __future__ import annotations

from multiprocessing import context, popen_fork

from .. import _native
from .._pidfd import Child
from . import _stdlib
from ._process import GuardedPopen, GuardedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any


class Popen(GuardedPopen, popen_fork.Popen):
    method = "fork"

    def _launch(self, process_obj: BaseProcess) -> None:
        _native.begin_start()
        self.pdeathsig = _native.is_main_thread()
        child = Child(_native.lifeline_open(pdeathsig=True))
        try:
            child.pidfd = _stdlib.launch_fork(self, process_obj, child.lifeline)
            child.pid = self.pid
            self.adopt(child, process_obj)
        except BaseException:
            if child.pidfd < 0:
                child.pidfd = _native.abandon()  # reaped already, if there was one
                child.drop()
            else:
                self.take_back(child)
            raise


class ForkProcess(GuardedProcess, context.ForkProcess):
    """`multiprocessing.context.ForkProcess` whose child dies with this process, and not before."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)

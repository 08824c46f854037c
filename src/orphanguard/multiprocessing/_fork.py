"""The fork start method: the shim's at-fork handler arms the child before any Python runs in it.

The child waits at a gate until its parent has the child's pidfd, so the worker's own code does not run in a child that
the parent does not know yet. Needs csrc/shim/fork.c, and the seam of ``popen_fork`` in _stdlib/multiprocessing.py.
"""

from __future__ import annotations

import os
from multiprocessing import context, popen_fork

from .._core import forking, lifelines
from .._core.child import Child
from .._stdlib import multiprocessing as seam
from ._context import Guarded
from ._process import GuardedPopen, GuardedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any


class Popen(GuardedPopen, popen_fork.Popen):
    method = "fork"

    def _launch(self, process_obj: BaseProcess) -> None:
        held = None
        child = Child()
        try:
            lifelines.open(child.held, pdeathsig=True)
            self.pdeathsig = forking.arm_next_fork(child.held)
            if process_obj._tree is None:  # type: ignore[attr-defined]
                seam.launch_fork(self, process_obj)
            else:
                held = self.held_start(child, process_obj)
                seam.launch_fork_by(held.fork)(self, process_obj)
            if held is not None:
                held.release()
            self.adopt(child, process_obj)
        except BaseException:
            if child.inherited:
                os._exit(1)  # this is the child, interrupted ahead of its own code: it must not run its parent's
            self.take_back(child)
            raise
        finally:
            if held is not None:
                held.close()


class ForkProcess(GuardedProcess, context.ForkProcess):
    """`multiprocessing.context.ForkProcess` whose child dies with this process, and not before."""

    # The standard library's: the sentinel that it gets is the lifeline already (the seam's launch_fork).
    _bootstrap = context.ForkProcess._bootstrap  # type: ignore[attr-defined]

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)


class ForkContext(Guarded, context.ForkContext):
    Process = ForkProcess

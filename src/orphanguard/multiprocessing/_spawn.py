"""The spawn start method: the shim's clone() arms the child before the child executes the new interpreter.

The new interpreter learns the fd of its lifeline before it imports anything of the user's (_arrival.py). Under
``tree=`` the shim starts orphanguard-run, which starts the interpreter. Needs csrc/shim/spawn.c, and the seam of
``popen_spawn_posix`` in _stdlib/multiprocessing.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from multiprocessing import context, popen_spawn_posix

from .._bin import RUN
from .._core import arming, lifelines, spawning
from .._core.child import Child
from .._core.fds import OwnFd, duplicate
from .._stdlib import multiprocessing as seam
from ._arrival import Arming
from ._context import Guarded
from ._process import GuardedPopen, GuardedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any


def _spawnv_below(child: Child, path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
    """`spawnv` below the supervisor of ``child``. Returns the supervisor's pid when the interpreter is executed."""
    from .._core.supervisor import blamed

    assert child.supervisor is not None
    argv = child.supervisor.command(child.lifeline, args, [path])
    try:
        pid = spawnv(child, RUN, argv, [*fds, child.lifeline, *child.supervisor.fds])
    except OSError as error:
        raise blamed(error, path) from None
    child.supervisor.started()
    child.supervisor.await_command(child.pidfd, path)
    return pid


def spawnv(child: Child, path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
    """Takes the place of ``util.spawnv_passfds``: starts ``path``, armed on the lifeline of ``child``.

    Fills in ``child``, and returns its pid.
    """
    spawning.spawn(spawning.request(child.held), [path], args, keep_fds=list(fds), executable=os.fsdecode(path))
    return child.pid


class Popen(GuardedPopen, popen_spawn_posix.Popen):
    method = "spawn"

    def _launch(self, process_obj: BaseProcess) -> None:
        self.pdeathsig = arming.is_main_thread()
        child = Child()
        copy = OwnFd()

        def start(path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
            return (spawnv if child.supervisor is None else _spawnv_below)(child, path, args, fds)

        def first_data() -> Arming:
            if copy.fd >= 0:
                tree = process_obj._tree  # type: ignore[attr-defined]
                what = tree.containment, tree.signal
                return Arming("_under_supervisor", "arrive_spawned_below", self.duplicate_for_child(copy.fd), *what)
            return Arming("_arrival", "arrive_spawned", self.duplicate_for_child(child.lifeline))

        try:
            lifelines.open(child.held, pdeathsig=False)
            if process_obj._tree is not None:  # type: ignore[attr-defined]
                from .._core.supervisor import Supervisor

                child.supervisor = Supervisor(process_obj._tree)  # type: ignore[attr-defined]
                copy = duplicate(child.lifeline)  # the worker's; the supervisor has the original
            seam.launch_spawn(self, process_obj, start, first_data)
            self.adopt(child, process_obj)
        except BaseException:
            self.take_back(child)
            raise
        finally:
            copy.close()


class SpawnProcess(GuardedProcess, context.SpawnProcess):
    """`multiprocessing.context.SpawnProcess` whose child dies with this process, and not before."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return Popen(process_obj)


class SpawnContext(Guarded, context.SpawnContext):
    Process = SpawnProcess

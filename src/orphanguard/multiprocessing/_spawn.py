"""The spawn start method: the shim's clone() arms the child before it executes the new interpreter."""

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


def _below(child: Child, path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
    from .._core.supervisor import blamed, command, words

    assert child.supervisor is not None
    ours = (child.lifeline, *child.supervisor.fds)
    try:
        pid = spawnv(child, RUN, command(*ours, *child.supervisor.arguments, *words([path]), *args), [*fds, *ours])
    except OSError as error:
        raise blamed(error, path) from None
    child.supervisor.started()
    child.supervisor.await_command(child.pidfd, path)
    return pid


def spawnv(child: Child, path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
    """``util.spawnv_passfds``, armed: fills in ``child``, whose lifeline it uses, and returns its pid."""
    spawning.spawn(spawning.request(child.held), [path], args, keep_fds=list(fds), executable=os.fsdecode(path))
    return child.pid


class Popen(GuardedPopen, popen_spawn_posix.Popen):
    method = "spawn"

    def _launch(self, process_obj: BaseProcess) -> None:
        self.pdeathsig = arming.is_main_thread()
        child = Child()
        copy = OwnFd()

        def start(path: Any, args: Sequence[Any], fds: Iterable[int]) -> int:
            return (spawnv if child.supervisor is None else _below)(child, path, args, fds)

        def first_data() -> Arming:
            if copy.fd >= 0:
                tree = process_obj._tree  # type: ignore[attr-defined]
                what = tree.containment, tree.signal
                return Arming("_below", "arrive_spawned_below", self.duplicate_for_child(copy.fd), *what)
            return Arming("_arrival", "arrive_spawned", self.duplicate_for_child(child.lifeline))

        try:
            lifelines.open(child.held, pdeathsig=False)
            if process_obj._tree is not None:  # type: ignore[attr-defined]
                from .._core.supervisor import Supervisor

                child.supervisor = Supervisor(process_obj._tree)  # type: ignore[attr-defined]
                copy = duplicate(child.lifeline)  # for the worker; the other one stays the supervisor's
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

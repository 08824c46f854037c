"""The contexts: where ``Process``, ``Pool``, ``Manager`` and all the rest get their processes from."""

from __future__ import annotations

import multiprocessing
from multiprocessing import context, managers
from typing import TYPE_CHECKING, Any

from ._fork import ForkProcess
from ._forkserver import ForkServerProcess
from ._process import GuardedProcess
from ._spawn import SpawnProcess

if TYPE_CHECKING:
    from multiprocessing.pool import Pool as PoolType
    from multiprocessing.process import BaseProcess

METHODS = ("fork", "spawn", "forkserver")


def guarded_pool(*args: Any, **kwargs: Any) -> PoolType:
    """A pool of guarded workers; what ``Manager().Pool()`` makes in the manager's process."""
    from multiprocessing.pool import Pool

    kwargs.setdefault("context", get_context())
    return Pool(*args, **kwargs)


class SyncManager(managers.SyncManager):
    """``multiprocessing.managers.SyncManager`` whose ``Pool()`` has guarded workers too."""


SyncManager.register("Pool", guarded_pool, managers.PoolProxy)  # type: ignore[attr-defined]


class _Guarded:
    """Mixed into the standard library's contexts."""

    def get_context(self, method: str | None = None) -> Any:
        return self if method is None else get_context(method)

    def Manager(self) -> SyncManager:  # noqa: N802 (the standard library's name)
        """Returns a manager with a running, guarded server process."""
        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager


class ForkContext(_Guarded, context.ForkContext):
    Process = ForkProcess


class SpawnContext(_Guarded, context.SpawnContext):
    Process = SpawnProcess


class ForkServerContext(_Guarded, context.ForkServerContext):
    Process = ForkServerProcess


_contexts = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}


def get_context(method: str | None = None) -> Any:
    """The guarded context of ``method``: ``"fork"``, ``"spawn"`` or ``"forkserver"``; with None of the start
    method that ``multiprocessing`` has (`multiprocessing.set_start_method`, or the running Python's default).

    It has all that the contexts of ``multiprocessing`` have: ``Process``, ``Pool``, ``Queue``, ``Manager``,
    ``Lock`` and so on. Raises ValueError for an unknown method.
    """
    if method is None:
        method = multiprocessing.get_start_method()
    try:
        return _contexts[method]
    except (KeyError, TypeError):
        raise ValueError(f"cannot find context for {method!r}") from None


class Process(GuardedProcess, multiprocessing.Process):
    """`multiprocessing.Process` whose child dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `multiprocessing.Process`, and so is the start
    method. ``guard`` tells what is armed; ``sentinel`` is a pidfd.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended (return, exception,
    ``os._exit``, SIGKILL, crash), the kernel kills the child with SIGKILL; while this process lives, nothing
    of ours kills it, whichever thread started it. docs/design.md lists what defeats it.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return get_context().Process._Popen(process_obj)

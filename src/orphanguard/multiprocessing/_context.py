"""The contexts: where ``Process``, ``Pool``, ``Manager`` and all the rest get their processes from.

Every page that an import dirties is a page that each fork has to copy, so only the fork method is loaded at
once; the others, pools and managers, when they are asked for.
"""

from __future__ import annotations

import multiprocessing
from importlib import import_module
from multiprocessing import context

from .._keywords import explained
from ._fork import ForkProcess
from ._process import GuardedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.context import BaseContext as _ContextBase
    from multiprocessing.process import BaseProcess
    from typing import Any, ClassVar, Literal, overload

    from typing_extensions import Self

    from ._forkserver import ForkServerContext
    from ._spawn import SpawnContext
    from .managers import SyncManager
    from .pool import Pool as PoolType
else:
    _ContextBase = object

METHODS = ("fork", "spawn", "forkserver")


class Guarded(_ContextBase):
    """Mixed into the standard library's contexts."""

    if TYPE_CHECKING:
        Process: ClassVar[type[GuardedProcess]]

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def get_context(self, method: None = None) -> Self: ...
        @overload
        def get_context(self, method: Literal["fork"]) -> ForkContext: ...
        @overload
        def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
        @overload
        def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
        @overload
        def get_context(self, method: str) -> Guarded: ...

    def get_context(self, method: str | None = None) -> Any:
        return self if method is None else get_context(method)

    @explained
    def Manager(self) -> SyncManager:  # noqa: N802 (the standard library's name)
        """Returns a manager with a running, guarded server process."""
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    @explained
    def Pool(  # noqa: N802 (the standard library's name)
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> PoolType:
        """Returns a pool of guarded workers."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())


class ForkContext(Guarded, context.ForkContext):
    Process = ForkProcess


_contexts: dict[str, Any] = {"fork": ForkContext()}
_LATER = {"spawn": ("_spawn", "SpawnContext"), "forkserver": ("_forkserver", "ForkServerContext")}


if TYPE_CHECKING:

    @overload
    def get_context(method: Literal["fork"]) -> ForkContext: ...
    @overload
    def get_context(method: Literal["spawn"]) -> SpawnContext: ...
    @overload
    def get_context(method: Literal["forkserver"]) -> ForkServerContext: ...
    @overload
    def get_context(method: str | None = None) -> Guarded: ...


def get_context(method: str | None = None) -> Any:
    """The guarded context of ``method``: ``"fork"``, ``"spawn"`` or ``"forkserver"``; with None of the start
    method that ``multiprocessing`` has (`multiprocessing.set_start_method`, or the running Python's default).

    It has all that the contexts of ``multiprocessing`` have: ``Process``, ``Pool``, ``Queue``, ``Manager``,
    ``Lock`` and so on. Raises ValueError for an unknown method.
    """
    if method is None:
        method = multiprocessing.get_start_method()
    if method not in METHODS:
        raise ValueError(f"cannot find context for {method!r}")
    if method not in _contexts:
        module, name = _LATER[method]
        made = getattr(import_module(f"{__package__}.{module}"), name)()
        return _contexts.setdefault(method, made)  # one for all threads
    return _contexts[method]


def guarded_context(given: Any, name: str) -> Any:
    """The guarded context for one that a user has given as ``name``: a standard one's, or this. None: the default.

    TypeError for any other: its children would only look guarded.
    """
    if given is None:
        return get_context()
    if isinstance(given, Guarded):
        return given
    standard = (context.DefaultContext, context.ForkContext, context.SpawnContext, context.ForkServerContext)
    if type(given) in standard and given.get_start_method() in METHODS:
        return get_context(given.get_start_method())
    raise TypeError(f"{name} must be one of orphanguard.get_context(), not {given!r}")


class Process(GuardedProcess, multiprocessing.Process):
    """`multiprocessing.Process` whose child dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `multiprocessing.Process`, and so is the start
    method. ``guard`` tells what is armed; ``sentinel`` is a pidfd.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended (return, exception,
    ``os._exit``, SIGKILL, crash), the kernel kills the child with SIGKILL; while this process lives, nothing
    of ours kills it, whichever thread started it, unless this process closes all its fds or executes another
    program. docs/design.md lists what defeats it.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return get_context().Process._Popen(process_obj)  # type: ignore[attr-defined]

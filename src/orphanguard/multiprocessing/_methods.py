"""The start methods by their names: which one ``Process``, ``Pool`` and the others use.

Every page that an import dirties is a page that each fork has to copy. So a start method's module is imported when
somebody asks for that method, by the name in `_HOME`; ``orphanguard.multiprocessing`` imports the fork method.
"""

from __future__ import annotations

import multiprocessing
from importlib import import_module
from multiprocessing import context

from ._process import GuardedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any, Literal, overload

    from ._context import Guarded
    from ._fork import ForkContext
    from ._forkserver import ForkServerContext
    from ._spawn import SpawnContext

#: The module of each start method, and its context there. A new start method needs a line here.
_HOME = {
    "fork": ("_fork", "ForkContext"),
    "spawn": ("_spawn", "SpawnContext"),
    "forkserver": ("_forkserver", "ForkServerContext"),
}
METHODS = tuple(_HOME)
_contexts: dict[str, Any] = {}


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
    """The guarded context of ``method``: ``"fork"``, ``"spawn"`` or ``"forkserver"``.

    None: of the start method that ``multiprocessing`` has (`multiprocessing.set_start_method`, or the running Python's
    default).

    It has all that the contexts of ``multiprocessing`` have: ``Process``, ``Pool``, ``Queue``, ``Manager``,
    ``Lock`` and so on. Raises ValueError for an unknown method.
    """
    if method is None:
        method = multiprocessing.get_start_method()
    if method not in METHODS:
        raise ValueError(f"cannot find context for {method!r}")
    if method not in _contexts:
        module, name = _HOME[method]
        made = getattr(import_module(f"{__package__}.{module}"), name)()
        return _contexts.setdefault(method, made)  # one for all threads
    return _contexts[method]


def guarded_context(given: Any, name: str) -> Any:
    """The guarded context for one that a user has given as ``name``. None gives the default one.

    A standard context is replaced by the guarded one of the same method. Any other one must start guarded processes:
    else TypeError, since its children would only look guarded.
    """
    if given is None:
        return get_context()
    started = getattr(given, "Process", None)
    if isinstance(started, type) and issubclass(started, GuardedProcess):
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

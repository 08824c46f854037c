"""The start methods by their names, and `Process`, which takes the one that ``multiprocessing`` has.

No context that looks guarded starts unguarded processes: `guarded_context` replaces or refuses what users pass in. Each
page that an import dirties is a page that every fork copies, so a start method's module is imported when it is asked
for; ``orphanguard.multiprocessing`` imports the fork method. Needs ``_Popen``, which the standard ``start`` calls.
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

    None: that of the start method that ``multiprocessing`` has (`multiprocessing.set_start_method`, or the default of
    the running Python).

    A guarded context has everything that a context of ``multiprocessing`` has: ``Process``, ``Pool``, ``Queue``,
    ``Manager``, ``Lock`` and so on. Raises ValueError if there is no such method.
    """
    if method is None:
        method = multiprocessing.get_start_method()
    if method not in METHODS:
        raise ValueError(f"cannot find context for {method!r}")
    if method not in _contexts:
        module, name = _HOME[method]
        made = getattr(import_module(f"{__package__}.{module}"), name)()
        return _contexts.setdefault(method, made)  # all threads get the same context
    return _contexts[method]


class GuardedContext:
    """The base of our contexts, which `guarded_context` recognises them by."""


def guarded_context(given: Any, name: str) -> Any:
    """The guarded context for ``given``, which a user has passed as the parameter ``name``. None: the default.

    A standard context is replaced by the guarded context of the same method. Raises TypeError for any other context,
    because its children would only look guarded.
    """
    if given is None:
        return get_context()
    if isinstance(given, GuardedContext):
        return given
    standard = (context.DefaultContext, context.ForkContext, context.SpawnContext, context.ForkServerContext)
    if type(given) in standard and given.get_start_method() in METHODS:
        return get_context(given.get_start_method())
    raise TypeError(f"{name} must be one of orphanguard.get_context(), not {given!r}")


class Process(GuardedProcess, multiprocessing.Process):
    """`multiprocessing.Process` whose child dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `multiprocessing.Process`, and so is the start method.
    ``sentinel`` is a pidfd. In addition:

    ``tree``: also ends everything that the child starts, setsid and double forks included: when this process is gone,
    when the child ends, and on `kill`; `terminate` goes to the whole tree. ``True`` or ``"subreaper"`` needs no
    privilege; ``"cgroup"`` and ``"pidns"`` contain better, on hosts that allow it. A supervisor stands between this
    process and the child: ``pid`` is the supervisor's, ``command_pid`` the child's own.
    ``grace``: seconds between SIGTERM to the whole tree and SIGKILL. It holds even when this process is gone. Implies
    ``tree=True``.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended (return, exception, ``os._exit``,
    SIGKILL, crash), the kernel kills the child with SIGKILL. While this process lives, orphanguard does not kill the
    child, whichever thread started it, unless this process closes all its fds or executes another program.
    docs/promise.md lists what is not guaranteed.

    Raises ValueError if there is no such ``tree`` or ``grace``, and TypeError if ``grace`` is no number. ``start()``
    raises `GuardUnavailable` (an OSError) if the kernel can't keep the promise, and OSError if resources run out. A
    failed start leaves no process, zombie or fd behind.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 (the standard library's name)
        return get_context().Process._Popen(process_obj)  # type: ignore[attr-defined]

"""``multiprocessing`` with guarded processes: ``from orphanguard import multiprocessing`` is the whole migration.

`Process`, `Pool`, `Manager` and `get_context` are orphanguard's; all other public names are the standard module's,
which is not patched. The submodules ``context``, ``managers`` and ``pool`` are guarded too. Submodules that start no
process of the user's are the standard library's own, and other submodules are not here: nothing here starts a process
of the user's unguarded. Needs the seams in _stdlib/multiprocessing.py.

The start methods are in _fork.py, _spawn.py and _forkserver.py. _methods.py lists them, and _process.py and _context.py
have what they share. _under_supervisor.py puts a supervisor above a worker. _arrival.py runs first in a worker that was
not forked from its parent. _mirror.py helps the modules that stand for one of the standard library.
"""

from __future__ import annotations

import multiprocessing as _standard

from .._core.keywords import explained
from . import _fork  # noqa: F401
from ._methods import Process, get_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.pool import Pool as PoolType
    from typing import Any

    from .managers import SyncManager

__all__ = ["Manager", "Pool", "Process", "get_context"]
__all__ += [name for name in _standard.__all__ if name not in __all__]

# Each has a file here too, so that an import statement finds it.
_SUBMODULES = (
    *("context", "managers", "pool"),
    *("connection", "dummy", "process", "queues", "reduction", "resource_tracker"),
    *("shared_memory", "sharedctypes", "synchronize", "util"),
)


@explained
def Pool(  # noqa: N802 (the standard library's name)
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> PoolType:
    """`multiprocessing.Pool` with guarded workers, including workers that replace others later.

    Arguments are those of the standard function. TypeError for ``tree``, ``grace``, ``guard`` and ``death_signal``.
    """
    return get_context().Pool(processes, initializer, initargs, maxtasksperchild)


@explained
def Manager() -> SyncManager:  # noqa: N802 (the standard library's name)
    """`multiprocessing.Manager` with a guarded server process."""
    return get_context().Manager()


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if name not in __all__:
        from ._mirror import not_here

        raise not_here(__name__, name, _standard)
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})

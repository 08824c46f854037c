"""``multiprocessing`` with guarded processes: ``from orphanguard import multiprocessing`` is the whole migration.

`Process`, `Pool`, `Manager` and `get_context` are ours; the other public names are the standard module's. Those of
its submodules that start processes (``pool``, ``managers``, ``context``) are not here: theirs would be unguarded.
"""

from __future__ import annotations

import multiprocessing as _standard

from ._context import Process, get_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.pool import Pool as PoolType
    from typing import Any

    from ._managers import SyncManager

__all__ = ["Manager", "Pool", "Process", "get_context"]
__all__ += [name for name in _standard.__all__ if name not in __all__]

_SUBMODULES = ("connection", "queues", "reduction", "shared_memory", "sharedctypes", "synchronize")


def Pool(  # noqa: N802 (the standard library's name)
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> PoolType:
    """`multiprocessing.Pool` with guarded workers, also those that replace others later on."""
    return get_context().Pool(processes, initializer, initargs, maxtasksperchild)


def Manager() -> SyncManager:  # noqa: N802 (the standard library's name)
    """`multiprocessing.Manager` with a guarded server process."""
    return get_context().Manager()


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"multiprocessing.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})

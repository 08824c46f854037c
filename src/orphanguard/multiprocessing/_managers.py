"""``Manager()``: in a module of its own, since ``multiprocessing.managers`` is the largest import of all."""

from __future__ import annotations

from multiprocessing import managers

from ._context import get_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.pool import Pool as PoolType
    from typing import Any


def guarded_pool(*args: Any, **kwargs: Any) -> PoolType:
    """A pool of guarded workers; what ``Manager().Pool()`` makes in the manager's process."""
    from multiprocessing.pool import Pool

    kwargs.setdefault("context", get_context())
    return Pool(*args, **kwargs)


class SyncManager(managers.SyncManager):
    """``multiprocessing.managers.SyncManager`` whose ``Pool()`` has guarded workers too."""


SyncManager.register("Pool", guarded_pool, managers.PoolProxy)  # type: ignore[attr-defined]

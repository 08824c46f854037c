"""``multiprocessing`` with guarded processes: ``from orphanguard import multiprocessing`` is the whole migration.

`Process`, `Pool`, `Manager` and `get_context` are ours; every other name is the standard module's.
"""

from __future__ import annotations

import multiprocessing as _standard

from ._context import Process, get_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._managers import SyncManager

__all__ = ["Manager", "Pool", "Process", "get_context"]


def Pool(*args: Any, **kwargs: Any) -> Any:  # noqa: N802 (the standard library's name)
    """`multiprocessing.Pool` with guarded workers, also those that replace others later on."""
    return get_context().Pool(*args, **kwargs)


def Manager() -> SyncManager:  # noqa: N802 (the standard library's name)
    """`multiprocessing.Manager` with a guarded server process."""
    manager: SyncManager = get_context().Manager()
    return manager


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *dir(_standard)})

"""``multiprocessing.managers`` with guarded server processes.

A server dies with the process that called ``start()``. A manager that only connects to a server starts no process, and
behaves like the standard library's. All other public names are the standard module's.
"""

from __future__ import annotations

from multiprocessing import managers as _standard
from typing import Any

from .._core.keywords import OURS, unexpected
from ._methods import guarded_context
from ._mirror import names, others
from .pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.managers import BaseProxy as BaseProxy  # noqa: PLC0414 (for type checkers)
    from multiprocessing.managers import Token as Token  # noqa: PLC0414

__all__ = ["BaseManager", "SharedMemoryManager", "SyncManager"]
__all__ += [name for name in _standard.__all__ if name not in __all__]


class BaseManager(_standard.BaseManager):
    """`multiprocessing.managers.BaseManager` whose server dies with the process that started it, and not before.

    Arguments are those of the standard class. A standard context that is given as ``ctx`` is replaced by the guarded
    context of the same method. Raises TypeError for any other context.
    """

    def __init__(
        self, address: Any = None, authkey: Any = None, serializer: str = "pickle", ctx: Any = None, **kwargs: Any
    ) -> None:
        for keyword in kwargs:
            if keyword in OURS:
                raise unexpected(type(self).__name__, keyword)
        super().__init__(address, authkey, serializer, guarded_context(ctx, "ctx"), **kwargs)


class SyncManager(BaseManager, _standard.SyncManager):
    """`multiprocessing.managers.SyncManager`, guarded like `BaseManager`. Its ``Pool()`` has guarded workers too."""


SyncManager.register("Pool", Pool, _standard.PoolProxy)  # type: ignore[attr-defined]


class SharedMemoryManager(BaseManager, _standard.SharedMemoryManager):
    """`multiprocessing.managers.SharedMemoryManager`, guarded like `BaseManager`."""


__getattr__ = others(__name__, _standard)


def __dir__() -> list[str]:
    return sorted({*__all__, *names(_standard)})

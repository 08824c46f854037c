"""``multiprocessing.pool`` with guarded workers."""

from __future__ import annotations

from multiprocessing import pool as _standard
from typing import Any

from .._core.keywords import explained
from ._methods import guarded_context
from ._mirror import names, others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.pool import ThreadPool as ThreadPool  # noqa: PLC0414 (for type checkers)

__all__ = ["Pool"]
__all__ += [name for name in _standard.__all__ if name not in __all__]


class Pool(_standard.Pool):
    """`multiprocessing.pool.Pool` whose workers die with this process, and not before; those that replace others, too.

    Arguments as there. A standard context given as ``context`` is replaced by the guarded one of the same method; any
    other is refused with TypeError.
    """

    _state = _standard.INIT  # what __del__ asks for where __init__ has refused

    @explained
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        super().__init__(processes, initializer, initargs, maxtasksperchild, guarded_context(context, "context"))


__getattr__ = others(__name__, _standard)


def __dir__() -> list[str]:
    return sorted({*__all__, *names(_standard)})

"""``multiprocessing.pool`` with guarded workers. All other public names are the standard module's."""

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
    """`multiprocessing.pool.Pool` whose workers die with this process, and not before.

    Arguments are those of the standard class. Workers that replace others are guarded too. A standard context that is
    given as ``context`` is replaced by the guarded context of the same method. Raises TypeError for any other context.
    """

    _state = _standard.INIT  # for __del__, if __init__ raises before it sets one

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

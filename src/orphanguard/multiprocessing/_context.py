"""What the guarded contexts of all start methods share: pools and managers whose processes are guarded.

All other methods of a context are the standard library's; they find the guarded ``Process`` in the context. Each page
that an import dirties is a page that every fork copies, so pools and managers are imported when they are asked for.
Needs _methods.py.
"""

from __future__ import annotations

from .._core.keywords import explained
from ._methods import GuardedContext, get_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.context import BaseContext as _ContextBase
    from typing import Any, ClassVar, Literal, overload

    from typing_extensions import Self

    from ._fork import ForkContext
    from ._forkserver import ForkServerContext
    from ._process import GuardedProcess
    from ._spawn import SpawnContext
    from .managers import SyncManager
    from .pool import Pool as PoolType
else:
    _ContextBase = object


class Guarded(GuardedContext, _ContextBase):
    """Mixed into the standard library's context of each start method, ahead of it."""

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
        """This context, or the guarded context of ``method``. ValueError if there is no such method."""
        return self if method is None else get_context(method)

    @explained
    def Manager(self) -> SyncManager:  # noqa: N802 (the standard library's name)
        """A manager whose guarded server process runs already."""
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
        """A pool of guarded workers, including workers that replace others later."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())

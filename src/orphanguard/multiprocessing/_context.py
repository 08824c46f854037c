"""What the contexts of the start methods share: where ``Pool``, ``Manager`` and the rest get their processes.

Every page that an import dirties is a page that each fork has to copy. So pools and managers are imported when somebody
asks for one.
"""

from __future__ import annotations

from .._core.keywords import explained
from ._methods import get_context

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


class Guarded(_ContextBase):
    """Mixed into the standard library's contexts."""

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
        return self if method is None else get_context(method)

    @explained
    def Manager(self) -> SyncManager:  # noqa: N802 (the standard library's name)
        """Returns a manager with a running, guarded server process."""
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
        """Returns a pool of guarded workers."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())

"""``concurrent.futures`` with guarded workers."""

from __future__ import annotations

import concurrent.futures
from multiprocessing import context
from typing import TYPE_CHECKING, Any

from ._signature import shows
from .multiprocessing._context import METHODS, Guarded, get_context

__all__ = ["ProcessPoolExecutor"]


class ProcessPoolExecutor(concurrent.futures.ProcessPoolExecutor):
    """`concurrent.futures.ProcessPoolExecutor` whose workers die with this process, and not before.

    Arguments as there. Without ``mp_context`` the start method is the one that the standard executor
    would choose. A standard context (``multiprocessing.get_context(...)``) is replaced by the guarded one of the same
    method; any other is refused with TypeError, since its workers would only look guarded.
    """

    if not TYPE_CHECKING:  # to type checkers it is the standard one's

        @shows(concurrent.futures.ProcessPoolExecutor.__init__)
        def __init__(self, max_workers=None, mp_context=None, *args, **kwargs):
            super().__init__(max_workers, _guarded(mp_context, kwargs), *args, **kwargs)


def _guarded(mp_context: Any, kwargs: dict[str, Any]) -> Any:
    if mp_context is None:
        # As the standard executor: children are not forked again and again from a process with threads.
        return get_context("spawn" if kwargs.get("max_tasks_per_child") is not None else None)
    if isinstance(mp_context, Guarded):
        return mp_context
    standard = (context.DefaultContext, context.ForkContext, context.SpawnContext, context.ForkServerContext)
    if type(mp_context) in standard and mp_context.get_start_method() in METHODS:
        return get_context(mp_context.get_start_method())
    raise TypeError(f"mp_context must be one of orphanguard.get_context(), not {mp_context!r}")

"""``concurrent.futures`` with guarded workers."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from ._core.keywords import OURS, unexpected
from ._core.signature import shows
from .multiprocessing._methods import get_context, guarded_context

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
            for keyword in kwargs:
                if keyword in OURS:
                    raise unexpected("ProcessPoolExecutor", keyword)
            super().__init__(max_workers, _guarded(mp_context, kwargs), *args, **kwargs)


def _guarded(mp_context: Any, kwargs: dict[str, Any]) -> Any:
    if mp_context is None and kwargs.get("max_tasks_per_child") is not None:
        # As the standard executor: children are not forked again and again from a process with threads.
        return get_context("spawn")
    return guarded_context(mp_context, "mp_context")

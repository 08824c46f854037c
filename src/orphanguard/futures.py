"""``concurrent.futures.ProcessPoolExecutor`` with guarded workers.

No worker only looks guarded: a context that starts unguarded processes is replaced or refused. Needs only public parts
of ``concurrent.futures``.
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

from ._core.keywords import OURS, unexpected
from ._core.signature import shows
from .multiprocessing._methods import get_context, guarded_context

__all__ = ["ProcessPoolExecutor"]


class ProcessPoolExecutor(concurrent.futures.ProcessPoolExecutor):
    """`concurrent.futures.ProcessPoolExecutor` whose workers die with this process, and not before.

    Arguments are those of the standard executor, and so is the start method if ``mp_context`` is not given. A standard
    context (``multiprocessing.get_context(...)``) is replaced by the guarded context of the same method.

    Guarantees for each worker what `orphanguard.Process` guarantees. Raises TypeError for any other context, because
    its workers would only look guarded, and for ``tree``, ``grace``, ``guard`` and ``death_signal``.
    """

    if not TYPE_CHECKING:  # type checkers see the standard executor's parameters

        @shows(concurrent.futures.ProcessPoolExecutor.__init__)
        def __init__(self, max_workers=None, mp_context=None, *args, **kwargs):
            for keyword in kwargs:
                if keyword in OURS:
                    raise unexpected("ProcessPoolExecutor", keyword)
            super().__init__(max_workers, _guarded(mp_context, kwargs), *args, **kwargs)


def _guarded(mp_context: Any, kwargs: dict[str, Any]) -> Any:
    if mp_context is None and kwargs.get("max_tasks_per_child") is not None:
        # The standard executor does the same, so that it does not go on forking in a process that has threads.
        return get_context("spawn")
    return guarded_context(mp_context, "mp_context")

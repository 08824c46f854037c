"""`wait` for many children at once: processes and programs in any mixture."""

from __future__ import annotations

from collections.abc import Collection

from ._core.waiting import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    from .multiprocessing._process import GuardedProcess
    from .subprocess import Popen

    Started = TypeVar("Started", bound=GuardedProcess | Popen[Any])

__all__ = ["wait"]


def wait(processes: Iterable[Started], timeout: float | None = None) -> list[Started]:
    """Waits until at least one of ``processes`` has finished, and returns those that have.

    ``processes``: started `orphanguard.Process` and `orphanguard.Popen` objects of this process, in any mixture. Give
    a set where there are thousands: the cost is that of those that have finished, not of those that are waited for.
    ``timeout``: seconds; None waits for ever, 0 only looks. Returns an empty list when it is over, and
    for no processes at all.

    The returned ones have been reaped: ``exitcode`` or ``returncode`` is set, and ``join()`` or ``wait()`` does not
    block.

    Raises ValueError for a process that was not started, is closed, or belongs to another process, and TypeError for
    what is neither; asyncio's own ``Process`` is waited for by its event loop. Safe from several threads at once.
    ``multiprocessing.connection.wait`` works on the ``sentinel`` of a `Process` as well; a `Popen` has none.
    """
    handles: Collection[Any] = processes if isinstance(processes, Collection) else list(processes)
    return registry().wait(handles, timeout) if handles else []

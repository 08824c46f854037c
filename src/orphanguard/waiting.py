"""`wait` for many children at once: processes and programs in any mixture.

The cost grows with the children that have finished, not with those that run. _core/waiting.py does the work.
"""

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

    ``processes``: started `orphanguard.Process` and `orphanguard.Popen` objects of this process, in any mixture. Pass a
    set if there are thousands: then the cost grows only with the number of finished children.
    ``timeout``: seconds; None waits for ever, 0 only looks. When the timeout is over, or if ``processes`` is empty, the
    result is an empty list.

    Each returned child has been reaped: ``exitcode`` or ``returncode`` is set, and ``join()`` or ``wait()`` does not
    block. Several threads may call this at once.

    Raises ValueError for a child that was not started, is closed, or belongs to another process, and TypeError for an
    object of any other class. asyncio's own ``Process`` is such an object: its event loop waits for it.
    ``multiprocessing.connection.wait`` takes the ``sentinel`` of a `Process`; a `Popen` has none.
    """
    handles: Collection[Any] = processes if isinstance(processes, Collection) else list(processes)
    return registry().wait(handles, timeout) if handles else []

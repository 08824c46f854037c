"""What a worker under a supervisor knows of it (``Process(tree=)``).

It is set once, when the worker arrives below its supervisor, and holds for that process only: a child that the worker
forks has the worker as its parent, not the supervisor. `orphanguard._core.guard` and ``die_with_parent()`` ask. Needs
no other file of ours.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .containment import Containment


class Supervised:
    """The supervisor of this worker.

    ``lifeline``: an fd of the description that hangs up when the worker's parent is gone; -1 in a worker whose parent
    forked it.
    """

    def __init__(self, containment: Containment, signal: int, lifeline: int) -> None:
        self.worker = os.getpid()
        self.supervisor = os.getppid()  # 0 in a pid namespace
        self.containment = containment
        self.signal = signal
        self.lifeline = lifeline


_supervised: Supervised | None = None


def enter(containment: Containment, signal: int, lifeline: int = -1) -> None:
    """This process is a worker below a supervisor from here on."""
    global _supervised
    _supervised = Supervised(containment, signal, lifeline)


def current() -> Supervised | None:
    """The supervisor of this process. None in a child that a worker has forked, since its parent is the worker."""
    if _supervised is None or _supervised.worker != os.getpid():
        return None
    return _supervised

"""What all programs of the demo share: the children's work, and how the demo learns that they are up.

Every program here runs by hand too: ``python demo/programs/plain.py`` prints its pids; kill what you like and
look with ``ps``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

CHILDREN = 3
LIFETIME = 60  # seconds: so that nothing stays for long, even if somebody kills the demo before it cleaned up


class Queue(Protocol):
    """A ``SimpleQueue`` of any context."""

    def put(self, item: int) -> None: ...
    def get(self) -> int: ...


def work(up: Queue) -> None:
    """The child: says that it is up, and loops."""
    up.put(os.getpid())
    end = time.monotonic() + LIFETIME
    while time.monotonic() < end:
        time.sleep(0.05)


def begin(start: Callable[[], object]) -> None:
    """Calls ``start``, which starts the children.

    With ``--in-thread`` not in the main thread, but in one that ends when a line arrives on stdin, while the
    process lives on.
    """
    if "--in-thread" not in sys.argv:
        start()
        return
    started = threading.Event()

    def starting_thread() -> None:
        print("thread", threading.get_native_id(), flush=True)
        try:
            start()
        finally:
            started.set()
        sys.stdin.readline()

    threading.Thread(target=starting_thread, daemon=True).start()
    started.wait()


def announce(up: Queue) -> None:
    """Waits until every child is up, and says who they are."""
    print("ready", *sorted(up.get() for _ in range(CHILDREN)), flush=True)

"""What all programs of the demo share: they start children, say who these are, and join them.

Every program here also runs by hand: ``python demo/programs/plain.py`` prints the pids of its children. Kill what you
like, and look with ``ps``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

CHILDREN = 3
LIFETIME = 60  # seconds: so that nothing stays for long, even if somebody kills the demo before it cleaned up

processes: list[Any] = []  #: those that were started so far
_up: Queue  #: in a worker of a pool


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


def run(
    context: Any,
    target: Callable[[Queue], None] = work,
    when_started: Callable[[], None] | None = None,
    **keywords: Any,
) -> None:
    """The whole of a program that starts processes; ``keywords`` are further arguments of each ``Process``."""
    up = context.SimpleQueue()

    def start() -> None:
        for _ in range(CHILDREN):
            process = context.Process(target=target, args=(up,), **keywords)
            process.start()
            processes.append(process)

    begin(start)
    if when_started:
        when_started()
    announce(up)
    for process in processes:
        process.join()


def run_pool(context: Any) -> None:
    """The whole of a program that starts a pool, and gives each worker a task that does not end."""
    up = context.SimpleQueue()
    results: list[Any] = []

    def start() -> None:
        pool = context.Pool(CHILDREN, initialize, (up,))
        results.extend(pool.apply_async(task, (number,)) for number in range(CHILDREN))

    begin(start)
    announce(up)
    for result in results:
        result.wait(LIFETIME)


def initialize(queue: Queue) -> None:
    """Runs in each worker of a pool, which can inherit a queue; a task cannot carry one."""
    global _up
    _up = queue


def task(_: int) -> None:
    work(_up)


def begin(start: Callable[[], object]) -> None:
    """Calls ``start``, which starts the children.

    With ``--in-thread``, a thread beside the main one calls it. That thread ends when a line arrives on stdin; the
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

"""The parent of a trial: ``python -m benchmarks.parent STRATEGY KIND COUNT [thread] [gib]``.

It starts children by one strategy, says so, and does what the runner orders, one line each on its stdin.
When all its children are gone it returns, as a program does that joins them.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading
from typing import Any

from .children import NOBODY, Child, report
from .strategies import load

LOOK = 0.02  # seconds
GIB = 1 << 30


def ended(handle: Any) -> bool:
    if hasattr(handle, "is_alive"):
        return not handle.is_alive()
    if hasattr(handle, "poll"):
        return handle.poll() is not None
    return False


def grow_busy() -> bytearray:
    """1 GiB, and threads that want the GIL."""
    ballast = bytearray(GIB)
    ballast[::4096] = b"x" * len(range(0, GIB, 4096))

    def spin() -> None:
        while True:
            pass

    for _ in range(2):
        threading.Thread(target=spin, daemon=True).start()
    return ballast


def become_root_of_nothing() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def eat() -> None:
    """Until the OOM killer comes."""
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 20))


def close_fds() -> None:
    os.closerange(3, 1 << 20)


def execute_another() -> None:
    os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(90)"])


def crash() -> None:
    ctypes.string_at(0)


ORDERS = {
    "_exit": lambda: os._exit(3),
    "crash": crash,
    "eat": eat,
    "close": close_fds,
    "uid": become_root_of_nothing,
    "exec": execute_another,
}


class Raised(Exception):
    pass


class Parent:
    def __init__(self, name: str, kind: str, count: int) -> None:
        self.strategy = load(name)
        self.kind = kind
        self.count = count
        self.handles: list[Any] = []
        self.thread_may_end = threading.Event()

    def start(self, kind: str, count: int) -> None:
        try:
            self.handles.extend(self.strategy.start(count, Child(kind)))
        except Exception as error:
            report(f"refused {type(error).__name__}: {error}"[:200])
            os._exit(0)

    def start_in_thread(self) -> None:
        self.start(self.kind, self.count)
        report(f"thread {threading.get_native_id()}")
        self.thread_may_end.wait()

    def obey(self, order: str) -> None:
        match order:
            case "raise":
                raise Raised
            case "sys.exit":
                sys.exit(3)
            case "thread":
                self.thread_may_end.set()
            case "start":  # one more, while somebody watches
                self.start("idle", 1)
                report("started")
            case _:
                ORDERS[order]()
                report("done")

    def all_ended(self) -> bool:
        """Asks all, which also reaps."""
        each = [ended(handle) for handle in self.handles]
        return bool(each) and all(each)


def main() -> None:
    name, kind, count, *options = sys.argv[1:]
    ballast = grow_busy() if "gib" in options else None
    parent = Parent(name, kind, int(count))
    if "thread" in options:
        threading.Thread(target=parent.start_in_thread).start()
    else:
        parent.start(kind, int(count))
        report("started")
    poller = select.poll()
    poller.register(0, select.POLLIN)
    while not parent.all_ended():
        # Signal handlers of Python run between two of these.
        if poller.poll(LOOK * 1000):
            orders = os.read(0, 4096).decode().split()  # short ones, so they come whole
            if not orders:
                os._exit(0)  # the runner is gone
            for order in orders:
                if order == "return":
                    return
                parent.obey(order)
    del ballast


if __name__ == "__main__":
    main()

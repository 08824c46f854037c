"""The parent of a trial: ``python -m benchmarks.matrix.parent STRATEGY KIND COUNT [thread] [gib] [stay]``.

It starts children by one strategy, says so, and does what the runner orders, one line each on its stdin. When all its
children are gone it returns, as a program does that joins them; with ``stay`` it stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import sys
import threading

from ..strategies.catalogue import STRATEGIES
from .child import Child, become_nobody, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK = 0.02  # seconds


def ended(handle: Any) -> bool:
    with contextlib.suppress(OSError):  # the order ``close`` has closed all fds
        if hasattr(handle, "is_alive"):
            return not handle.is_alive()
        if hasattr(handle, "poll"):
            return handle.poll() is not None
    return False


def grow_busy() -> bytearray:
    """Takes 1 GiB, and starts threads that want the GIL."""
    from ..common.worker import ballast

    memory = ballast(1)

    def spin() -> None:
        while True:
            pass

    for _ in range(2):
        threading.Thread(target=spin, daemon=True).start()
    return memory


def eat() -> None:
    """Takes memory until the OOM killer comes."""
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
    "uid": become_nobody,
    "exec": execute_another,
}


class Raised(Exception):
    pass


class Parent:
    def __init__(self, name: str, kind: str, count: int) -> None:
        self.hooks, self.start_children = STRATEGIES[name].load()
        self.kind = kind
        self.count = count
        self.handles: list[Any] = []
        self.thread = threading.Thread(target=self.start_in_thread)
        self.started = threading.Event()
        self.thread_may_end = threading.Event()

    def in_main_thread(self, what: str) -> None:
        getattr(self.hooks, what, lambda: None)()

    def start(self, kind: str, count: int) -> None:
        try:
            self.handles.extend(self.start_children(count, Child(kind)))
        except Exception as error:
            report(f"refused {type(error).__name__}: {error}"[:200])
            os._exit(0)

    def start_in_thread(self) -> None:
        self.start(self.kind, self.count)
        self.started.set()
        self.thread_may_end.wait()

    def begin(self, in_thread: bool) -> None:
        self.in_main_thread("prepare")
        if in_thread:
            self.thread.start()
            self.started.wait()
        else:
            self.start(self.kind, self.count)
        self.in_main_thread("finish")
        report(f"thread {self.thread.native_id}" if in_thread else "started")

    def kill_the_dead(self) -> None:
        """Calls ``kill`` of the handles of dead children. The process that has such a pid now must not be hit."""
        for handle in self.handles:
            if ended(handle) and hasattr(handle, "kill"):
                handle.kill()

    def obey(self, order: str) -> None:
        match order:
            case "raise":
                raise Raised
            case "sys.exit":
                sys.exit(3)
            case "thread":
                self.thread_may_end.set()
            case "kill the dead":
                self.kill_the_dead()
                report("done")
            case "start":  # one more, while somebody watches
                self.start("idle", 1)
                report("started")
            case _:
                ORDERS[order]()
                report("done")

    def all_ended(self) -> bool:
        """Asks every handle, since asking also reaps."""
        each = [ended(handle) for handle in self.handles]
        return bool(each) and all(each)


def main() -> None:
    name, kind, count, *options = sys.argv[1:]
    ballast = grow_busy() if "gib" in options else None
    parent = Parent(name, kind, int(count))
    parent.begin("thread" in options)
    try:
        serve(parent, "stay" in options)
    finally:
        parent.in_main_thread("stop")
    del ballast


def serve(parent: Parent, stay: bool) -> None:
    """Obeys until all children are gone, or until it is ordered to return."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    while not parent.all_ended() or stay:
        # Python runs signal handlers between two polls.
        if poller.poll(LOOK * 1000):
            orders = os.read(0, 4096).decode().splitlines()  # short ones, so they come whole
            if not orders:
                os._exit(0)  # the runner is gone
            for order in orders:
                if order == "return":
                    return
                parent.obey(order)


if __name__ == "__main__":
    main()

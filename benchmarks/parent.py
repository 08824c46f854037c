"""The parent of a trial: ``python -m benchmarks.parent STRATEGY KIND COUNT [thread] [gib]``.

It starts children by one strategy, says so, and does what the runner orders, one line each on its stdin.
When all its children are gone it returns, as a program does that joins them.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
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


def main() -> None:
    name, kind, count, *options = sys.argv[1:]
    strategy = load(name)
    handles: list[Any] = []
    ballast = grow_busy() if "gib" in options else None
    thread_may_end = threading.Event()

    def start(kind: str = kind, count: int = int(count)) -> None:
        handles.extend(strategy.start(count, Child(kind)))

    def in_thread() -> None:
        try:
            start()
        except BaseException as error:
            refused(error)
        report(f"thread {threading.get_native_id()}")
        thread_may_end.wait()

    def refused(error: BaseException) -> None:
        report(f"refused {type(error).__name__}: {error}"[:200])
        os._exit(0)

    if "thread" in options:
        threading.Thread(target=in_thread).start()
    else:
        try:
            start()
        except Exception as error:
            refused(error)
        report("started")
    poller = select.poll()
    poller.register(0, select.POLLIN)
    pending = b""
    while True:
        # Signal handlers of Python run between two of these.
        if poller.poll(LOOK * 1000):
            chunk = os.read(0, 4096)
            if not chunk:
                os._exit(0)  # the runner is gone
            pending += chunk
        while b"\n" in pending:
            order, _, pending = pending.partition(b"\n")
            match order.decode().split():
                case ["return"]:
                    return
                case ["raise"]:
                    raise Raised
                case ["sys.exit"]:
                    sys.exit(3)
                case ["thread"]:
                    thread_may_end.set()
                case ["start"]:  # one more, idle, while somebody watches
                    start("idle", 1)
                    report("started")
                case [other]:
                    ORDERS[other]()
                    report("done")
        if handles and all(ended(handle) for handle in handles):
            break
    del ballast


if __name__ == "__main__":
    main()

"""Tries to start a process by METHOD where the kernel refuses, and says what came of it."""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing import resource_tracker
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from tests.support import fdtable


def nothing() -> None:
    pass


def state() -> tuple[object, ...]:
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return sorted(os.listdir("/proc/self/fd")), children.read(), threading.active_count()


def main() -> None:
    process = orphanguard.get_context(sys.argv[1]).Process(target=nothing)
    if sys.argv[1] != "fork":
        resource_tracker.ensure_running()
    fdtable.settle()
    before = state()
    try:
        process.start()
    except OSError as error:
        print(type(error).__name__, "nothing left" if state() == before else f"left: {before} -> {state()}")
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main()

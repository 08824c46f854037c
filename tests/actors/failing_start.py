"""Tries to start a process by METHOD where the kernel refuses, and prints what the start raised and what it left."""

from __future__ import annotations

import sys
from multiprocessing import resource_tracker
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from tests.support import fdtable
from tests.support.starts import everything


def nothing() -> None:
    pass


def main() -> None:
    process = orphanguard.get_context(sys.argv[1]).Process(target=nothing)
    if sys.argv[1] != "fork":
        resource_tracker.ensure_running()
    fdtable.settle()
    before = everything()
    try:
        process.start()
    except OSError as error:
        print(type(error).__name__, "nothing left" if everything() == before else f"left: {before} -> {everything()}")
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main()

"""Ten thousand starts and joins leave nothing: no fd, zombie, thread, and no memory that grows. `make stress`.

Usage: rounds.py [ROUNDS [METHOD ...]]. A round of spawn or forkserver costs much more than a round of fork, so a tenth
and a fifth as many are made.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from tests.support.proc import children

SHARE = {"fork": 1, "forkserver": 5, "spawn": 10}


def nothing() -> None:
    pass


def state() -> tuple[int, set[int], int]:
    return len(os.listdir("/proc/self/fd")), children(), threading.active_count()


def rounds(method: str, count: int) -> bool:
    context = orphanguard.get_context(method)

    def start_and_join(times: int, check: bool = True) -> None:
        for _ in range(times):
            process = context.Process(target=nothing)
            process.start()
            process.join()
            assert process.exitcode == 0 or not check, process

    start_and_join(50)
    before, memory = state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_and_join(count - 50)
    threads = [threading.Thread(target=start_and_join, args=(25,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after, grown = state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    fine = after == before and grown < 2048
    print(f"{method}: {count} rounds, {'nothing left' if fine else f'LEFT: {before} -> {after}'}, memory +{grown} KiB")
    return fine


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    methods = sys.argv[2:] or list(SHARE)
    results = [rounds(method, max(100, total // SHARE[method])) for method in methods]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()

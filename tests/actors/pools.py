"""Pools of all kinds: METHOD KIND guarded|plain. Prints the pids of two workers that are at work for good."""

from __future__ import annotations

import os
import sys
import tempfile
import time

from family import GUARDED, context, idle, say


def work(folder: str) -> None:
    """Idle workers end by themselves at the end of their queue; those at work don't."""
    os.close(os.open(os.path.join(folder, str(os.getpid())), os.O_CREAT | os.O_WRONLY))
    idle()


def main() -> None:
    method, kind, _ = sys.argv[1:]
    ctx = context(method)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "ProcessPoolExecutor":
            if GUARDED:
                from orphanguard import ProcessPoolExecutor
            else:
                from concurrent.futures import ProcessPoolExecutor  # type: ignore[assignment]
            executor = ProcessPoolExecutor(2, mp_context=ctx)
            tasks = [executor.submit(work, folder) for _ in range(2)]
        else:
            pool = ctx.Pool(2) if kind == "Pool" else ctx.Manager().Pool(2)  # type: ignore[attr-defined]
            tasks = [pool.apply_async(work, (folder,)) for _ in range(2)]
        while len(os.listdir(folder)) < len(tasks):
            time.sleep(0.01)
        children = [int(name) for name in os.listdir(folder)]
    say(children=children)
    idle()


if __name__ == "__main__":
    main()

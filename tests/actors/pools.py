"""Pools of all kinds: METHOD KIND guarded|plain. Prints the pids of two workers whose work never ends."""

from __future__ import annotations

import os
import sys
import tempfile

from family import GUARDED, context

from tests.support.actor import idle, say
from tests.support.proc import wait_for


def work(folder: str) -> None:
    """Never ends: an idle worker would end by itself, at the end of its queue."""
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
        wait_for(lambda: len(os.listdir(folder)) == len(tasks))
        children = [int(name) for name in os.listdir(folder)]
    say(children=children)
    idle()


if __name__ == "__main__":
    main()

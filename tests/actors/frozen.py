"""A program for PyInstaller: starts children in every way, guarded or plain, and prints their pids.

guarded|plain [die]: with "die" this process dies with its parent, which is the other process of a one-file program.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time


def sleep() -> None:
    time.sleep(1000)


def ended(code: int) -> None:
    sys.exit(code)


async def program(create):
    return await create("sleep", "1000")


def guarded() -> list[int]:
    import orphanguard

    pids = []
    finished = []
    for method in ("fork", "spawn", "forkserver"):
        context = orphanguard.get_context(method)
        for options in ({}, {"tree": True}):
            child = context.Process(target=sleep, **options)
            child.start()
            pids += [child.pid] + ([child.command_pid] if options else [])
            child = context.Process(target=ended, args=(7,), **options)
            child.start()
            finished.append(child)
    while finished:
        for child in orphanguard.wait(finished):
            assert child.exitcode == 7, child
            finished.remove(child)
    assert orphanguard.check_output(["echo", "x"]) == b"x\n"
    for options in ({}, {"user": os.getuid()}, {"tree": True}, {"preexec_fn": os.getpid}):
        popen = orphanguard.Popen(["sleep", "1000"], **options)
        pids += [popen.pid] + ([popen.command_pid] if "tree" in options else [])
        keep.append(popen)
    loop = asyncio.new_event_loop()
    keep.append(loop)
    keep.append(loop.run_until_complete(program(orphanguard.create_subprocess_exec)))
    pids.append(keep[-1].pid)
    with orphanguard.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(abs, -3).result() == 3
    hook = orphanguard.PreexecFn()
    keep.append(subprocess.Popen(["sleep", "1000"], preexec_fn=hook))  # noqa: PLW1509
    pids.append(keep[-1].pid)
    return pids


def plain() -> list[int]:
    keep.append(subprocess.Popen(["sleep", "1000"]))
    # Not by spawn: that child would still load modules when the folder of a one-file program is removed.
    child = multiprocessing.get_context("fork").Process(target=sleep)
    child.start()
    return [keep[-1].pid, child.pid]


keep: list[object] = []

if __name__ == "__main__":
    multiprocessing.freeze_support()
    if sys.argv[2:] == ["die"]:
        import orphanguard

        orphanguard.die_with_parent()
    pids = {"guarded": guarded, "plain": plain}[sys.argv[1]]()
    print(json.dumps({"children": pids, "self": os.getpid(), "parent": os.getppid()}), flush=True)
    time.sleep(1000)

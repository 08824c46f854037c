"""Killed while its supervisor is held before it has looked for its parent, and a younger program of another thread
holds copies of all that this process has: HOW [unnamed]. "unnamed": the supervisor is not told whom it is to watch."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time

import orphanguard
from orphanguard._core import supervisor

TREE = ["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]


async def asynchronous() -> None:
    await orphanguard.create_subprocess_exec(*TREE, tree=True)


def process(method: str) -> None:
    orphanguard.get_context(method).Process(target=os.system, args=(TREE[2],), tree=True).start()


HOW = {
    "Popen": lambda: orphanguard.Popen(TREE, tree=True),
    "preexec_fn": lambda: orphanguard.Popen(TREE, tree=True, preexec_fn=os.getpid),
    "asyncio": lambda: asyncio.run(asynchronous()),
    "fork": lambda: process("fork"),
    "spawn": lambda: process("spawn"),
    "forkserver": lambda: process("forkserver"),
}


def children(of: int) -> set[int]:
    found: set[int] = set()
    for task in os.listdir(f"/proc/{of}/task"):
        with open(f"/proc/{of}/task/{task}/children") as file:
            found.update(map(int, file.read().split()))
    return found


def is_supervisor(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return "orphanguard-run" in file.read()
    except OSError:
        return False


def main() -> None:
    if "unnamed" in sys.argv:
        command = supervisor.command
        supervisor.command = lambda *words: [word for word in command(*words) if "--parent-fd=" not in str(word)]
    assert orphanguard.Popen
    threading.Thread(target=HOW[sys.argv[1]], daemon=True).start()
    me = os.getpid()
    while not any(map(is_supervisor, children(me))):
        time.sleep(0.005)
    before = children(me)
    # Its child shares our table of fds until it gets to close_range, where it is held.
    threading.Thread(target=lambda: orphanguard.Popen(["true"]), daemon=True).start()
    while not children(me) - before:
        time.sleep(0.005)
    os.kill(me, signal.SIGKILL)


if __name__ == "__main__":
    main()

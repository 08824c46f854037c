"""Dies while its supervisor is held, before the supervisor has looked for its parent: HOW [unnamed].

A younger program of another thread holds copies of all that this process has then. HOW: a way to start a tree.
"unnamed": the supervisor is not told which process it is to watch.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from orphanguard._core import supervisor
from tests.support.proc import children, children_of, wait_for

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


def main() -> None:
    if "unnamed" in sys.argv:
        command = supervisor.command
        supervisor.command = lambda *words: [word for word in command(*words) if "--parent-fd=" not in str(word)]
    assert orphanguard.Popen
    threading.Thread(target=HOW[sys.argv[1]], daemon=True).start()
    me = os.getpid()
    wait_for(lambda: children_of(me, "orphanguard-run"))
    before = children()
    # This program's child shares our table of fds until it gets to close_range, where strace holds it.
    threading.Thread(target=lambda: orphanguard.Popen(["true"]), daemon=True).start()
    wait_for(lambda: children() - before)
    os.kill(me, signal.SIGKILL)


if __name__ == "__main__":
    main()

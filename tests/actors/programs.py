"""A parent with programs: THREAD LIBRARY [--memory MIB] [--busy N] [--before STATEMENT] EXPRESSION ...

THREAD: who starts them: the main thread, one that has ended, or one that still runs. LIBRARY: `guarded`, `unguarded`
(guard=False) or `plain` (the standard library's). Each EXPRESSION starts a program and is a Popen, or a pid. Prints
{"children": [pids]} when all are started, then executes the Python statements that it reads on stdin.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import signal
import subprocess as standard
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from family import burn, say

from orphanguard import subprocess
from orphanguard._core import guard
from tests.support.witness import children_of, wait_for

assert guard and signal
DEVNULL, PIPE = subprocess.DEVNULL, subprocess.PIPE
SLEEP = ["sleep", "1000"]
libc = ctypes.CDLL(None, use_errno=True)


def blocked(call, *args, **options) -> int:
    """The pid of what ``call`` starts, and does not return from."""
    before = set(children_of(os.getpid()))
    threading.Thread(target=call, args=args, kwargs=options, daemon=True).start()
    return wait_for(lambda: set(children_of(os.getpid(), "sleep")) - before).pop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("thread", choices=["main", "ended", "running"])
    parser.add_argument("library", choices=["guarded", "unguarded", "plain"])
    parser.add_argument("expressions", nargs="*")
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--before", default="")
    options = parser.parse_args()

    library = standard if options.library == "plain" else subprocess
    for name in ("Popen", "run", "call", "check_call", "check_output"):
        call = getattr(library, name)
        globals()[name] = functools.partial(call, guard=False) if options.library == "unguarded" else call
    memory = bytearray(options.memory << 20)
    memory[::4096] = b"x" * len(memory[::4096])  # resident
    for _ in range(options.busy):
        threading.Thread(target=burn, daemon=True).start()
    exec(options.before, globals())
    processes: list[object] = []
    started = threading.Event()

    def start() -> None:
        processes.extend(eval(expression, globals()) for expression in options.expressions)
        started.set()
        if options.thread == "running":
            threading.Event().wait()

    if options.thread == "main":
        start()
    else:
        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        started.wait()
        if options.thread == "ended":
            thread.join()
            while os.path.exists(f"/proc/self/task/{thread.native_id}"):
                time.sleep(0.001)
    say(children=[getattr(process, "pid", process) for process in processes])
    scope = {**globals(), "processes": processes}
    for line in sys.stdin:
        exec(line, scope)


if __name__ == "__main__":
    main()

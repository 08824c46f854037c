"""A parent with programs: THREAD LIBRARY [--memory MIB] [--busy N] [--before STATEMENT] EXPRESSION ...

THREAD: which thread starts the programs: "main", one that has "ended", or one that is still "running". LIBRARY:
`guarded`, `unguarded` (guard=False) or `plain` (the standard library's). Each EXPRESSION starts a program; its value is
a Popen or a pid. Prints {"children": [pids]} when all are started, then executes the Python statements that it reads on
stdin.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from orphanguard import subprocess
from orphanguard._core import guard
from tests.support.actor import become, burden, obey, run_in, say
from tests.support.proc import children_of, wait_for

assert guard and become and signal  # the expressions use them
DEVNULL, PIPE = subprocess.DEVNULL, subprocess.PIPE
SLEEP = ["sleep", "1000"]
libc = ctypes.CDLL(None, use_errno=True)


def blocked(call, *args, **options) -> int:
    """The pid of the program that ``call`` starts and waits for."""
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
    ballast = burden(options.memory, options.busy)
    exec(options.before, globals())
    processes: list[object] = []

    def start() -> None:
        processes.extend(eval(expression, globals()) for expression in options.expressions)

    run_in(options.thread, start)
    say(children=[getattr(process, "pid", process) for process in processes])
    obey({**globals(), "processes": processes, "ballast": ballast})


if __name__ == "__main__":
    main()

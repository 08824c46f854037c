"""A parent with children: METHOD THREAD guarded|plain COUNT CHILD [--memory MIB] [--busy N] [--payload KIB].

THREAD: which thread starts the children: "main", one that has "ended", or one that is still "running". CHILD: the name
of a function of this file, which each child calls.
Prints {"children": [pids]} when all are up, then executes the Python statements that it reads on stdin.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.actor import become, burden, burn, idle, obey, run_in, say

assert threading and time  # the statements that tests write use them
busy = burn


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    idle()


def ignore_signals() -> None:
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    idle()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def drop_uid() -> None:
    become()
    idle()


def close_fds() -> None:
    os.closerange(0, 20000)
    idle()


def disarm() -> None:
    import fcntl
    from multiprocessing import parent_process

    lifeline = parent_process().sentinel  # type: ignore[union-attr]
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) & ~os.O_ASYNC)
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
    idle()


def new_session() -> None:
    os.setsid()
    idle()


def start_another() -> None:
    """Parent, child, grandchild: each by the same start method."""
    import multiprocessing

    process = context(multiprocessing.get_start_method()).Process(target=child_main, args=(QUEUE, idle, ()))
    process.start()
    process.join()


QUEUE = None


def child_main(queue: object, function: object, payload: object) -> None:
    global QUEUE
    QUEUE = queue
    queue.put(os.getpid())  # type: ignore[attr-defined]
    function()  # type: ignore[operator]


def context(method: str) -> object:
    if GUARDED:
        import orphanguard

        return orphanguard.get_context(method)
    import multiprocessing

    return multiprocessing.get_context(method)


GUARDED = "plain" not in sys.argv


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("method")
    parser.add_argument("thread", choices=["main", "ended", "running"])
    parser.add_argument("guarded")
    parser.add_argument("count", type=int)
    parser.add_argument("child")
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--payload", type=int, default=0)
    parser.add_argument("--daemon", action="store_true")
    parser.add_argument("--expect", type=int, default=None, help="pids to hear of, if not COUNT")
    parser.add_argument("--before", default="", help="a statement to execute before the start")
    options = parser.parse_args()

    ballast = burden(options.memory, options.busy)
    exec(options.before, globals())
    ctx = context(options.method)
    queue = ctx.SimpleQueue()  # type: ignore[attr-defined]
    arguments = (queue, globals()[options.child], b"p" * (options.payload << 10))
    processes = [
        ctx.Process(target=child_main, args=arguments, daemon=options.daemon)  # type: ignore[attr-defined]
        for _ in range(options.count)
    ]

    def start() -> None:
        for process in processes:
            process.start()

    run_in(options.thread, start)
    say(children=[queue.get() for _ in range(options.expect or options.count)])
    libc = ctypes.CDLL(None, use_errno=True)
    obey({**globals(), "processes": processes, "ctx": ctx, "queue": queue, "libc": libc, "ballast": ballast})


if __name__ == "__main__":
    main()

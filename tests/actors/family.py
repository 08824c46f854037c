"""A parent with children: METHOD THREAD guarded|plain COUNT CHILD [--memory MIB] [--busy N] [--payload KIB].

THREAD: who starts the children: the main thread, one that has ended, or one that still runs.
Prints {"children": [pids]} when all are up, then executes the Python statements that it reads on stdin.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
import time


def idle() -> None:
    while True:
        signal.pause()


def busy() -> None:
    import hashlib

    while True:  # C code without the GIL
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 1_000_000)


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
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
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


def burn() -> None:
    import hashlib

    while True:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)


def say(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


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

    memory = bytearray(options.memory << 20)
    memory[::4096] = b"x" * len(memory[::4096])  # resident
    for _ in range(options.busy):
        threading.Thread(target=burn, daemon=True).start()
    exec(options.before, globals())
    ctx = context(options.method)
    queue = ctx.SimpleQueue()  # type: ignore[attr-defined]
    payload = b"p" * (options.payload << 10)
    arguments = (queue, globals()[options.child], payload)
    processes = [
        ctx.Process(target=child_main, args=arguments, daemon=options.daemon)  # type: ignore[attr-defined]
        for _ in range(options.count)
    ]
    forever = threading.Event()

    def start() -> None:
        for process in processes:
            process.start()
        started.set()
        if options.thread == "running":
            forever.wait()

    started = threading.Event()
    if options.thread == "main":
        start()
    else:
        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        started.wait()
        if options.thread == "ended":
            thread.join()
            # join() returns when Python is done with the thread; the kernel's task may live on a little.
            while os.path.exists(f"/proc/self/task/{thread.native_id}"):
                time.sleep(0.001)
    pids = [queue.get() for _ in range(options.expect or options.count)]
    say(children=pids)
    scope = {**globals(), "processes": processes, "ctx": ctx, "queue": queue, "libc": ctypes.CDLL(None, use_errno=True)}
    for line in sys.stdin:
        exec(line, scope)


if __name__ == "__main__":
    main()

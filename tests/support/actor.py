"""What actors share. An actor is a program that tests start, kill and look at: tests/actors.

It needs nothing but the standard library, so that an actor decides for itself when orphanguard is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


def say(**answer: object) -> None:
    """Tells the test ``answer``, in a line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def obey(scope: dict[str, Any]) -> None:
    """Executes the statements that the test writes, one a line, until it hangs up."""
    for line in sys.stdin:
        exec(line, scope)


def idle() -> NoReturn:
    while True:
        signal.pause()


def burn(rounds: int = 100_000) -> NoReturn:
    """Keeps a processor busy, in C code without the GIL."""
    import hashlib

    while True:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", rounds)


def burden(memory: int = 0, busy: int = 0) -> bytearray:
    """``memory`` MiB of this process's own, and ``busy`` threads without rest."""
    ballast = bytearray(memory << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])  # each page is written, and so is there
    for _ in range(busy):
        threading.Thread(target=burn, daemon=True).start()
    return ballast


def become(uid: int = 65534) -> None:
    """Takes that user's ids, and no group besides."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def run_in(thread: str, function: Callable[[], object]) -> None:
    """Calls ``function`` in the main thread ("main") or in another thread.

    The other thread never ends if it is to be "running". Else it has ended when this returns, for the kernel too.
    """
    if thread == "main":
        function()
        return
    done = threading.Event()

    def run() -> None:
        try:
            function()
        finally:
            done.set()
        if thread == "running":
            threading.Event().wait()

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    done.wait()
    if thread != "running":
        joined(worker)


def joined(thread: threading.Thread) -> None:
    """Returns when the thread is gone. The kernel's task may live on a little when join() returns."""
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        time.sleep(0.001)


def in_a_thread_that_ends(function: Callable[[], T]) -> T:
    """What ``function`` returns."""
    results: list[T] = []
    run_in("ended", lambda: results.append(function()))
    return results[0]


@contextlib.contextmanager
def held_by_another_thread(lock: Any) -> Iterator[None]:
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def in_a_fork(function: Callable[[], object]) -> int:
    """The exit status of a fork that calls ``function`` and ends with 5. The fork is killed if it takes long."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not the test runner's
        signal.alarm(20)
        function()
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

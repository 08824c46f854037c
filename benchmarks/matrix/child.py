"""The kinds of children. Each says that it is up, with its role, and stays until it is ended.

A child says so in one datagram to the runner's socket. The kernel adds the sender's pid as the runner knows it, from
inside a pid namespace too, and the child need not inherit an fd.
"""

from __future__ import annotations

import collections
import itertools
import os
import resource
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # thousands of children are started: this file imports nothing that only some need
if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME = 90  # seconds, busy or not: no child stays for long, whatever becomes of the runner
SOCKET = "ORPHANGUARD_BENCH_SOCKET"  # its name in the abstract namespace, which is also the trial's token
SETUID = "ORPHANGUARD_BENCH_SETUID"  # a set-user-ID copy of sleep
NOBODY = 65534


def report(what: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(what.encode(), "\0" + os.environ[SOCKET])


def stay() -> None:
    """Sleeps in short parts, so that threads that wait for the GIL, and signal handlers, get their turns."""
    end = time.monotonic() + LIFETIME
    while time.monotonic() < end:
        time.sleep(0.2)
    os._exit(0)


def up(role: str = "child") -> None:
    report(role)
    stay()


def idle() -> None:
    up()


def up_and_busy() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIFETIME, LIFETIME))
    report("child")


def busy() -> None:
    """Runs in C and never lets go of the GIL: no other thread of this process runs Python, and no handler."""
    up_and_busy()
    collections.deque(itertools.repeat(None), maxlen=0)


def nogil() -> None:
    """Runs in C without the GIL: other threads of this process run, a handler does not."""
    import hashlib

    up_and_busy()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def deaf() -> None:
    """Ignores and blocks all signals that can be ignored or blocked."""
    for signum in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    up()


def stopped() -> None:
    report("child")
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def uid() -> None:
    become_nobody()
    up()


def setuid() -> None:
    """Executes a set-user-ID root program; its real user stays nobody."""
    report("child")
    os.execv(os.environ[SETUID], ["sleep", str(LIFETIME)])


def closed() -> None:
    os.closerange(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    up()


def _with_grandchild(start_new_session: bool) -> None:
    import subprocess

    subprocess.Popen(
        [sys.executable, "-m", "benchmarks.matrix.child", "--grandchild"],
        start_new_session=start_new_session,
        close_fds=True,
    )
    up()


def grandchild_group() -> None:
    _with_grandchild(False)


def grandchild_session() -> None:
    _with_grandchild(True)


def daemon() -> None:
    """The classic double fork: fork, setsid, fork, and the process in between ends."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            up("grandchild")
        os._exit(0)
    os.wait()
    up()


class Kind:
    """``count``: children; ``family``: processes that each of them is; ``parent``: "root", "nobody" or (empty) any."""

    def __init__(self, title: str, run: Callable[[], None], count: int = 1, family: int = 1, parent: str = "") -> None:
        self.title = title
        self.run = run
        self.count = count
        self.family = family
        self.parent = parent


KINDS = {
    "idle": Kind("idle", idle),
    "busy": Kind("busy in C, holds the GIL", busy),
    "nogil": Kind("busy in C, without the GIL", nogil),
    "deaf": Kind("blocks and ignores signals", deaf),
    "stopped": Kind("is stopped", stopped),
    "uid": Kind("has changed its uid", uid, parent="root"),
    "setuid": Kind("executes a setuid program", setuid, parent="nobody"),
    "closed": Kind("closes all its fds", closed),
    "siblings": Kind("is one of five", idle, count=5),
    "grandchild": Kind("has a child, same group", grandchild_group, family=2),
    "setsid": Kind("has a child, `setsid`", grandchild_session, family=2),
    "daemon": Kind("has a double-forked daemon", daemon, family=2),
}


def work(kind: str) -> None:
    KINDS[kind].run()


class Child:
    """What a strategy is given to start: a function for a process, a command for a program."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def target(self) -> None:
        work(self.kind)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.matrix.child", self.kind]


if __name__ == "__main__":
    if sys.argv[1] == "--grandchild":
        up("grandchild")
    work(sys.argv[1])

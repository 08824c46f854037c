"""A parent with two programs, and a holder, which gets copies of its fds between their starts: DESIGN HOLDER [OPTIONS].

DESIGN: "tether", orphanguard's; "fallback", the same where sockets are refused; or one of designs.py.
HOLDER: what the holder is:
  raw      a clone by C code, for which no at-fork handler runs
  unrun    a fork that stays in an at-fork handler which is older than ours
  process  the same, started by a guarded Process
  helper   a fork that nothing holds
  maker    as raw, while another thread's start makes the elder program's tether, and strace holds that thread
  many     as raw, again and again; each lets go by itself
  nobody   there is none
  std      a child of plain subprocess, which strace holds between fork and exec
The holder reads how it is to let go of its copies, a name of WAYS, from the fd of --orders; but "std" reads nothing.
Prints {"programs": [elder, younger], "holder": pid, "parent": pid}, and stays until the end of its stdin.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import itertools
import os
import platform
import resource
import signal
import subprocess as standard
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.actor import say
from tests.support.proc import wait_for

SYS_CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
# Calls keep the GIL, so the child of a clone has it.
LIBC = ctypes.PyDLL(None)
SLEEP = ["sleep", "1000"]


def fds() -> list[int]:
    """All but stdio and the fd of the orders."""
    return sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and fd != ORDERS)


def close_one_by_one(numbers: list[int]) -> None:
    for fd in numbers:
        if fd != ORDERS:
            with contextlib.suppress(OSError):  # the fd of the listing
                os.close(fd)


WAYS: dict[str, Callable[[], object]] = {
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exec": lambda: os.execv("/bin/sleep", ["sleep", "1000"]),
    "close_range": lambda: os.closerange(3, 1 << 20),
    "ascending": lambda: close_one_by_one(fds()),
    "descending": lambda: close_one_by_one(fds()[::-1]),
    "goes on": lambda: None,
}


def obey() -> None:
    WAYS[os.read(ORDERS, 100).decode()]()


def hold_and_stay() -> None:
    obey()
    while True:
        time.sleep(1000)


def raw() -> int:
    pid = LIBC.syscall(SYS_CLONE, signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        hold_and_stay()
    return int(pid)


def helper() -> int:
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(1000)
    return pid


unrun = helper  # main() registers the at-fork handler that stays


def maker() -> int:
    if MADE:  # the design makes all in its parent's table
        ELDER.append(START())
        return MADE[0]
    thread = threading.Thread(target=lambda: ELDER.append(START()))
    thread.start()
    if OPTIONS.moment == "made":  # the tether is on its way to the parent
        from tests.support.fdtable import tethers

        wait_for(tethers)
    else:
        wait_for(Path(f"/proc/self/task/{thread.native_id}/children").read_text)
        time.sleep(0.1)  # by then strace holds that thread
    pid = raw()
    assert not ELDER
    thread.join()
    return pid


def many() -> int:
    threading.Thread(target=clone_on_and_on, daemon=True).start()
    for _ in range(20):
        ELDER.append(START())
    return 0


def clone_on_and_on() -> None:
    sys.setswitchinterval(1000)  # the clone must not wait for a GIL whose owner it lacks
    for count in itertools.count():
        numbers = fds()[:: 1 if count % 2 else -1]
        if LIBC.syscall(SYS_CLONE, signal.SIGCHLD, 0, 0, 0, 0) == 0:
            LIBC.usleep(count % 7 * 5000)
            for fd in numbers:
                LIBC.close(fd)
            LIBC._exit(0)
        time.sleep(0.0005)


def process() -> int:
    import orphanguard

    started = orphanguard.get_context("fork").Process(target=time.sleep, args=(1000,))
    started.start()
    assert started.pid
    return started.pid


def std() -> int:
    thread = threading.Thread(target=lambda: KEPT.append(eval(OPTIONS.start)), daemon=True)
    thread.start()
    return int(wait_for(Path(f"/proc/self/task/{thread.native_id}/children").read_text).split()[0])


def starter() -> Callable[[], int]:
    """The function that starts a program, which the design guards."""
    options = {"start_new_session": True}  # the test may kill this process's group
    if OPTIONS.design not in ("tether", "fallback"):
        from designs import DESIGNS

        meanwhile = [lambda: MADE.append(raw())] if OPTIONS.holder == "maker" else []
        design = DESIGNS[OPTIONS.design](*meanwhile)
        return lambda: KEPT.append(design.start(**options)) or KEPT[-1].pid
    import orphanguard

    orphanguard.Popen, orphanguard.PreexecFn, orphanguard.get_context  # noqa: B018 (loaded)
    if OPTIONS.design == "fallback":
        import errno

        from filtered import refuse

        refuse("socketpair", errno.EPERM)
    kind = KINDS[OPTIONS.kind]
    return lambda: kind(orphanguard, options)


def program(orphanguard: Any, options: dict[str, bool], **more: object) -> int:
    started = orphanguard.Popen(SLEEP, **options, **more)
    KEPT.append(started)
    return int(getattr(started, "command_pid", None) or started.pid)


def hooked(orphanguard: Any, options: dict[str, bool]) -> int:
    hook = {"preexec_fn": orphanguard.PreexecFn()}
    started = standard.Popen(SLEEP, **options, **hook)  # type: ignore[call-overload]
    KEPT.append(started)
    return int(started.pid)


def worker(orphanguard: Any, method: str) -> int:
    ctx = orphanguard.get_context(method)
    ready, said = ctx.Pipe(duplex=False)
    started = ctx.Process(target=without_fds, args=(said,))
    started.start()
    said.close()
    ready.recv()
    KEPT.append(started)
    return int(started.pid)


def without_fds(said: Any) -> None:
    """A child that has closed all fds, even its own description."""
    said.send(None)
    said.close()
    os.closerange(3, 1 << 20)
    time.sleep(1000)


def forked(orphanguard: Any) -> int:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        orphanguard.die_with_parent()
        os.closerange(3, writer)
        os.closerange(writer + 1, 1 << 20)
        os.close(writer)
        time.sleep(1000)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


KINDS: dict[str, Callable[[Any, dict[str, bool]], int]] = {
    "Popen": program,
    "close_fds=False": lambda og, options: program(og, options, close_fds=False),
    "preexec_fn": lambda og, options: program(og, options, preexec_fn=os.getpid),
    "user": lambda og, options: program(og, options, user=65534),
    "death_signal": lambda og, options: program(og, options, death_signal="SIGTERM"),
    "tree": lambda og, options: program(og, options, tree=True),
    "PreexecFn": hooked,
    "fork": lambda og, _: worker(og, "fork"),
    "spawn": lambda og, _: worker(og, "spawn"),
    "forkserver": lambda og, _: worker(og, "forkserver"),
    "die_with_parent": lambda og, _: forked(og),
}


def open_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if OPTIONS.files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPTIONS.files + 1000, max(hard, OPTIONS.files + 1000)))
    for _ in range(OPTIONS.files):
        os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def main() -> None:
    if OPTIONS.holder in ("unrun", "process"):
        handler = ctypes.CFUNCTYPE(None)(obey)
        KEPT.append(handler)
        register = getattr(LIBC, "__register_atfork", None) or LIBC.pthread_atfork
        register(None, None, handler, None)
    global START
    START = starter()

    def run() -> None:  # in another thread, so no PDEATHSIG helps
        if OPTIONS.holder not in ("maker", "many"):
            ELDER.append(START())
        open_files()
        holder = globals()[OPTIONS.holder]() if OPTIONS.holder != "nobody" else None
        say(programs=[*ELDER, START()], holder=holder, parent=os.getpid())
        threading.Event().wait()

    threading.Thread(target=run, daemon=True).start()
    os.read(0, 1)  # not by sys.stdin, whose lock a forked Process needs


parser = argparse.ArgumentParser()
parser.add_argument("design")
parser.add_argument("holder")
parser.add_argument("--orders", type=int, default=-1)
parser.add_argument("--files", type=int, default=0)
parser.add_argument("--kind", default="Popen", help="of the programs")
parser.add_argument("--moment", default="", help='"made": of the clone of "maker"')
parser.add_argument("--start", default="", help='what starts the holder "std"')
OPTIONS = parser.parse_args()
ORDERS = OPTIONS.orders
KEPT: list[object] = []
START: Callable[[], int]
ELDER: list[int] = []
MADE: list[int] = []

if __name__ == "__main__":
    main()

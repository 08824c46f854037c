"""Kills parents whose eight threads start all kinds of children at once, on a busy machine. `make kills`.

Usage: kills.py [KILLS [FAMILIES]]. FAMILIES at a time keep the machine busy, by default twice as many as processors.
Only guarded children live for long. So a process with the family's token in its environment that is left in the end has
outlived its parent. Exits with 1 if there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

THREADS = 8
TOKEN = "ORPHANGUARD_KILLS_TOKEN"
DEATH = 20.0  # seconds; the machine is busy
PR_SET_CHILD_SUBREAPER = 36


def worker(kind: str) -> None:
    threading.current_thread().name = kind
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write(kind)
    time.sleep(1000)


def parent() -> None:
    import orphanguard

    sleep, nothing = ["sleep", "1000"], ["true"]

    def process(method: str) -> None:
        orphanguard.get_context(method).Process(target=worker, args=(method,)).start()

    def raw_fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    guarded = [
        (30, lambda: orphanguard.Popen(sleep)),
        (6, lambda: orphanguard.Popen(sleep, close_fds=False)),
        (6, lambda: orphanguard.Popen(sleep, preexec_fn=os.getpid)),
        (3, lambda: orphanguard.Popen(sleep, tree=True)),
        (10, lambda: subprocess.Popen(sleep, preexec_fn=orphanguard.PreexecFn())),  # noqa: PLW1509 (the subject)
        (15, lambda: process("fork")),
        (1, lambda: process("spawn")),
        (2, lambda: process("forkserver")),
    ]
    unguarded = [
        (10, lambda: subprocess.Popen(nothing)),
        (6, lambda: subprocess.Popen(nothing, close_fds=False)),
        (10, raw_fork),
    ]
    weights, starts = zip(*guarded, *unguarded, strict=True)

    def start() -> None:
        chance = random.Random()
        while True:
            with contextlib.suppress(OSError):
                chance.choices(starts, weights)[0]()

    orphanguard.get_context("forkserver").Process(target=int).start()
    print("up", flush=True)
    for _ in range(THREADS):
        threading.Thread(target=start, daemon=True).start()
    time.sleep(1000)


def of_family(token: str) -> dict[int, str]:
    """The processes that have that token in their environment: pid to what it is."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/environ", "rb") as environ:
                if f"{TOKEN}={token}".encode() not in environ.read().split(b"\0"):
                    continue
            with open(f"/proc/{name}/cmdline", "rb") as cmdline, open(f"/proc/{name}/comm") as comm:
                found[int(name)] = f"{comm.read().strip()}: {cmdline.read().replace(bytes(1), b' ').decode()[:60]}"
    return found


def family(token: str, left: Counter[str]) -> int:
    """Kills one parent. Returns how many children it had, and adds those that outlived it to ``left``."""
    environment = {**os.environ, TOKEN: token}
    with subprocess.Popen([sys.executable, __file__, "parent"], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(random.uniform(0.1, 1.0))
        born = len(of_family(token))
        process.kill()
    end = time.monotonic() + DEATH
    while (lives := of_family(token)) and time.monotonic() < end:
        time.sleep(0.2)
    for pid, what in lives.items():
        left[what] += 1
        print(f"outlived its parent: {pid}: {what}", flush=True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return born


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    at_once = int(sys.argv[2]) if len(sys.argv) > 2 else 2 * (os.cpu_count() or 1)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans keep their pids until we reap them
    left: Counter[str] = Counter()
    born, bad, numbers = [], [], iter(range(kills))
    lock = threading.Lock()

    def run() -> None:
        for number in numbers_left():
            mine: Counter[str] = Counter()
            count = family(f"{os.getpid()}.{number}", mine)
            with lock:
                born.append(count)
                left.update(mine)
                bad.extend([number] if mine else [])

    def numbers_left():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    threads = [threading.Thread(target=run) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.2)
        reap_orphans()
    print(
        f"{kills} kills of a parent with {THREADS} threads, {at_once} families at a time, "
        f"{sum(born) / max(len(born), 1):.0f} processes in each: "
        f"{sum(left.values())} children outlived {len(bad)} parents"
    )
    sys.exit(1 if left else 0)


def reap_orphans() -> None:
    """Reaps the orphans that have come to us, and not the parents, for which the threads wait."""
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        for pid in map(int, children.read().split()):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    if __file__.encode() in cmdline.read():
                        continue
                os.waitpid(pid, os.WNOHANG)


if __name__ == "__main__":
    parent() if sys.argv[1:] == ["parent"] else main()

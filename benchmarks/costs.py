"""What a child costs with so many others alive, and in a parent of so many GiB: ``python -m benchmarks.costs``.

One role at a time, each in a parent of its own, in random order in each round: thousands of children of all roles
at once would not fit. Writes results/costs.json.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import perf_counter_ns as now

from ._worker import serve, sleep_for_ever

COUNTS = 1, 10, 100, 1000, 5000
SIZES = 0, 1, 4, 8  # GiB
FEW = 10  # children in a parent of that size
JOINS = 10
WAITS = 5
ROUNDS = 3
IDLE_AT = 1000  # children
IDLE = 60.0  # seconds, for our Process; others get a sixth
SAMPLE = 20  # children whose memory is looked at
GIB = 1 << 30

ROLES = {
    "ours": "`orphanguard.Process`, fork",
    "standard": "`multiprocessing.Process`, fork",
    "billiard": "`billiard.Process`",
    "os.fork": "`os.fork`, PDEATHSIG by ctypes",
    "our Popen": "`orphanguard.Popen`",
    "subprocess": "`subprocess.Popen`",
    "preexec_fn": "`subprocess`, with `preexec_fn`",
}
FLOOR = "C: `fork`, `prctl`, `waitpid`"
PROGRAM = ["/bin/sleep", "1000"]
TRUE = ["/bin/true"]


def nothing():
    pass


def starters(role):
    """Two functions: one starts a child that stays, one starts a child that does nothing and joins it."""
    if role in ("our Popen", "subprocess", "preexec_fn"):
        from ._worker import arm_pdeathsig

        if role == "our Popen":
            from orphanguard import Popen
        else:
            from subprocess import Popen
        keywords = {"preexec_fn": arm_pdeathsig} if role == "preexec_fn" else {}
        return lambda: Popen(PROGRAM, **keywords), lambda: Popen(TRUE, **keywords).wait()
    if role == "os.fork":
        return fork_forever, fork_and_wait
    if role == "ours":
        import orphanguard

        context = orphanguard.get_context("fork")
    elif role == "billiard":
        import billiard

        context = billiard.get_context("fork")
    else:
        import multiprocessing

        context = multiprocessing.get_context("fork")

    def stay():
        process = context.Process(target=sleep_for_ever, kwargs={"arm": role != "ours"})
        process.start()
        return process

    def join():
        process = context.Process(target=nothing)
        process.start()
        process.join()

    return stay, join


def fork_forever():
    pid = os.fork()
    if pid == 0:
        sleep_for_ever(arm=True)
    return pid


def fork_and_wait():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def worker(role, gib):
    ballast = bytearray(gib * GIB)
    ballast[::4096] = b"x" * len(range(0, len(ballast), 4096))
    stay, join = starters(role)
    live = []

    def grow(count):
        """The mean of the starts in nanoseconds."""
        more = count - len(live)
        before = now()
        while len(live) < count:
            live.append(stay())
        return (now() - before) / more

    def joins(count):
        times = []
        for _ in range(count):
            before = now()
            join()
            times.append(now() - before)
        return statistics.median(times)

    def waits(count):
        """For the next of all: one has finished. None where there is no such call."""
        times = []
        for _ in range(count):
            victim = random.choice(live)
            if role == "ours":
                from orphanguard import wait

                handles = set(live)
            elif role in ("standard", "billiard"):
                from multiprocessing.connection import wait

                handles = [process.sentinel for process in live]
            else:
                return None
            os.kill(victim.pid, signal.SIGKILL)
            os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
            before = now()
            wait(handles)
            times.append(now() - before)
            live.remove(victim)
            victim.join()
            live.append(stay())
        return statistics.median(times)

    def pids():
        return [each if isinstance(each, int) else each.pid for each in live]

    serve(grow=grow, joins=joins, waits=waits, pids=pids)


def memory(pid, kinds="Private_"):
    """KiB of its own: what would be free without it, but for the kernel's. ``Rss``: what it shares as well."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(kinds))


def cpu(pids):
    """Nanoseconds on a processor so far, all threads."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total


@contextlib.contextmanager
def worker_of(role, gib):
    """subprocess's programs are not guarded: they are ended here."""
    from . import _measure
    from .trial import end_all

    with _measure.workers("costs", f"{role}:{gib}") as (parent,):
        try:
            yield parent
        finally:
            parent.kill()
            end_all()


def room_for(more, child_kib):
    """Whether so many fit, with their page tables, and leave half of the memory to others."""
    with open("/proc/meminfo") as file:
        (available,) = (int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    return more * (child_kib + 300) < available / 2


def by_count(role, idle, counts):
    found = {}
    with worker_of(role, 0) as parent:
        parent.ask("joins", 2)  # what is made once
        fds, threads, own = parent.fds(), parent.threads(), memory(parent.pid, "Rss")
        child_kib, live = 0, 0
        for count in counts:
            if not room_for(count - live, child_kib):
                print(f"{role}: no room for {count} children", file=sys.stderr)
                break
            cell = {"start": parent.ask("grow", count)}
            time.sleep(0.2)  # the last ones have come up
            cell["fds"] = (parent.fds() - fds) / count
            cell["threads"] = parent.threads() - threads
            pids = parent.ask("pids")
            some = random.sample(pids, min(SAMPLE, count))
            cell["parent_kib"] = (memory(parent.pid, "Rss") - own) / count
            child_kib, live = statistics.mean(map(memory, some)), count
            cell["child_kib"] = child_kib
            if idle and count == IDLE_AT:
                before = cpu([parent.pid, *pids])
                time.sleep(idle)
                cell["idle_ns"] = cpu([parent.pid, *pids]) - before
                cell["idle_s"] = idle
            cell["join"] = parent.ask("joins", JOINS)
            cell["wait"] = parent.ask("waits", WAITS)
            found[str(count)] = cell
    return found


def by_size(role, gib):
    with worker_of(role, gib) as parent:
        parent.ask("joins", 1)
        return {"start": parent.ask("grow", FEW), "join": parent.ask("joins", JOINS)}


def floor_lines(floor, gib, counts):
    done = subprocess.run([floor, "--fork", str(gib), *map(str, counts)], stdout=subprocess.PIPE, check=True)
    return {
        count: {"start": int(start), "join": int(join)}
        for count, start, join in (line.split() for line in done.stdout.decode().splitlines())
    }


def merge(rounds):
    """The median of each number over the rounds."""
    merged = {}
    for key in rounds[0]:
        values = [each[key] for each in rounds if each.get(key) is not None]  # idle: of the first round alone
        if isinstance(rounds[0][key], dict):
            merged[key] = merge(values)
        else:
            merged[key] = round(statistics.median(values), 3) if values else None
    return merged


def measure(rounds, idle, most, save):
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit

    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    many = [count for count in COUNTS if count <= most]
    roles = [role for role in ROLES if role != "billiard" or importlib.util.find_spec("billiard")]
    counts = {role: [] for role in (*roles, FLOOR)}
    sizes = {role: [] for role in (*roles, FLOOR)}
    with tempfile.TemporaryDirectory() as directory:
        floor = Path(directory, "floor")
        subprocess.run(["cc", "-O2", "-o", floor, Path(__file__).with_name("floor.c")], check=True)
        for number in range(rounds):
            for role in random.sample(list(counts), len(counts)):
                print(f"costs, round {number + 1} of {rounds}: {role}", file=sys.stderr, flush=True)
                if role == FLOOR:
                    counts[role].append(floor_lines(floor, 0, many))
                    sizes[role].append({str(gib): floor_lines(floor, gib, [FEW])[str(FEW)] for gib in SIZES})
                    _reap()
                else:
                    # Idle is idle: one round tells.
                    looked = idle if role == "ours" else idle / 6
                    counts[role].append(by_count(role, 0 if number else looked, many))
                    sizes[role].append({str(gib): by_size(role, gib) for gib in SIZES})
                save(
                    {
                        name: {"count": merge(counts[name]), "size": merge(sizes[name])}
                        for name in counts
                        if counts[name]
                    }
                )


def _reap():
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def main():
    from . import _measure
    from .trial import ROOT

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--idle", type=float, default=IDLE, help=f"seconds; default {IDLE:.0f}")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="children; default %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "costs.json")
    arguments = parser.parse_args()
    about = {**_measure.host(), "rounds": arguments.rounds}

    def save(roles):
        arguments.output.write_text(json.dumps({"host": about, "roles": roles}, indent=1) + "\n")

    measure(arguments.rounds, arguments.idle, arguments.most, save)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        name, _, gib = sys.argv[2].rpartition(":")
        worker(name, int(gib))
    else:
        main()

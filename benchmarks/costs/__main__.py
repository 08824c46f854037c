"""What a child costs with so many others alive, and in a parent of so many GiB: ``python -m benchmarks.costs``.

One role runs at a time, in a parent of its own, in random order in each round: thousands of children of all roles
would not fit. The times go to results/costs.json, a file of pyperf's (``python -m pyperf show`` reads it). What else a
child takes goes to results/children.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyperf
from rich.console import Console
from rich.progress import track

from ..common.floor import compile_floor
from ..common.host import RESULTS, host
from ..common.processes import descendants, end_all
from ..common.worker import GIB, allow_many_fds
from ..common.workers import workers
from .roles import COUNTS, FLOORS, IDLE_AT, OURS, ROLES, SIZES, installed

FEW = 10  # children in a large parent
JOINS = 10
WAITS = 5
ROUNDS = 2
IDLE = 60.0  # seconds, for orphanguard; others get a sixth
KEPT = 50  # times of a run at most, evenly out of thousands of starts
SAMPLE = 20  # children whose memory is looked at


class Times:
    """Seconds by name, several runs of each, as a file of pyperf's."""

    def __init__(self, path, about):
        self._path = path
        self._found = {}
        names = {"cpu": "cpu_model_name", "cpus": "cpu_count", "load": "load_avg_1min"}  # as pyperf calls them
        self._about = {names.get(key, key): value for key, value in about.items()}

    def add(self, name, values):
        if not values:
            return
        metadata = {**self._about, "name": name, "unit": "second"}
        run = pyperf.Run(values[:: -(-len(values) // KEPT)], metadata=metadata, collect_metadata=False)
        if name in self._found:
            self._found[name].add_run(run)
        else:
            self._found[name] = pyperf.Benchmark([run])

    def save(self):
        pyperf.BenchmarkSuite(list(self._found.values())).dump(str(self._path), replace=True)


def memory(pid, kinds="Private_"):
    """KiB of the process's own, which its end would free, without the kernel's. ``Rss``: with what it shares."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(kinds))
    return 0


def cpu(pids):
    """Nanoseconds that all threads of these processes have been on a processor so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            for task in os.listdir(f"/proc/{pid}/task"):
                total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return total


@contextlib.contextmanager
def worker_of(role, gib):
    """Children of unguarded roles outlive the worker: they are ended here."""
    with workers("costs.roles", f"{role}:{gib}") as (parent,):
        try:
            yield parent
        finally:
            parent.kill()
            end_all()


def room_for(more, child_kib):
    """Whether so many children fit, with their page tables, and leave half of the memory to others."""
    with open("/proc/meminfo") as file:
        (available,) = (int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    return more * (child_kib + 300) < available / 2


def by_count(role, idle, counts, times):
    """What each child takes, by how many live. ``idle``: seconds to look at idle children, or 0."""
    taken = {}
    with worker_of(role, 0) as parent:
        parent.ask("joins", 2)  # the first start makes what all share
        fds, threads, own = parent.fds(), parent.threads(), memory(parent.pid, "Rss")
        child_kib, live = 0, 0
        for count in counts:
            if count > ROLES[role].most:
                break
            if not room_for(count - live, child_kib):
                print(f"{role}: no room for {count} children", file=sys.stderr)
                break
            times.add(f"{role}, start, {count} live", parent.ask("grow", count))
            time.sleep(0.2)  # the last ones have come up
            some = random.sample(parent.ask("pids"), min(SAMPLE, count))
            child_kib = sum(map(memory, [each for pid in some for each in (pid, *descendants(pid))])) / len(some)
            taken[count] = {
                "fds": (parent.fds() - fds) / count,
                "threads": parent.threads() - threads,
                "parent_kib": (memory(parent.pid, "Rss") - own) / count,
                "child_kib": child_kib,
            }
            live = count
            if idle and count == IDLE_AT:
                everybody = [parent.pid, *descendants(parent.pid)]
                before = cpu(everybody)
                time.sleep(idle)
                taken[count] |= {"idle_ns": cpu(everybody) - before, "idle_s": idle}
            times.add(f"{role}, start and join, {count} live", parent.ask("joins", JOINS))
            times.add(f"{role}, wait, {count} live", parent.ask("waits", WAITS))
    return taken


def by_size(role, gib, times):
    with worker_of(role, gib) as parent:
        parent.ask("joins", 1)
        times.add(f"{role}, start, {gib} GiB", parent.ask("grow", FEW))
        times.add(f"{role}, start and join, {gib} GiB", parent.ask("joins", JOINS))


def floor(program, call, counts, sizes, times):
    def lines(gib, *counts):
        command = [program, f"--{call}", str(gib), *map(str, counts)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return [[int(word) / 1e9 for word in line.split()] for line in done.stdout.decode().splitlines()]

    def add(found, ends):
        for starts, joins, end in zip(found[::2], found[1::2], ends, strict=True):
            times.add(f"{call}, start, {end}", starts)
            times.add(f"{call}, start and join, {end}", joins)

    add(lines(0, *counts), [f"{count} live" for count in counts])
    for gib in sizes:
        add(lines(gib, FEW), [f"{gib} GiB"])


def measure(roles, directory, *, rounds, idle, most, sizes):
    allow_many_fds()
    counts = [count for count in COUNTS if count <= most]
    about = host()
    times = Times(directory / "costs.json", about)
    children = {"host": about, "roles": {}}
    with tempfile.TemporaryDirectory() as scratch:
        program = compile_floor(scratch)
        work = [
            (number, role)
            for number in range(rounds)
            for role in random.sample([*roles, *FLOORS], len(roles) + len(FLOORS))
        ]
        for number, role in track(work, "costs", console=Console(stderr=True)):
            if role in FLOORS:
                floor(program, role, counts, sizes, times)
            else:
                # Counts and idle times are the same each time: one round is enough.
                look = 0 if number else idle if role in OURS else idle / 6
                taken = by_count(role, look, counts, times)
                children["roles"].setdefault(role, taken)
                for gib in sizes:
                    by_size(role, gib, times)
            times.save()
            (directory / "children.json").write_text(json.dumps(children, indent=1) + "\n")


def fitting(sizes):
    """The sizes that take less than two thirds of the memory."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [gib for gib in sizes if gib * GIB * 3 < total * 2]


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--idle", type=float, default=IDLE, help=f"seconds; default {IDLE:.0f}")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="children; default %(default)s")
    parser.add_argument(
        "--sizes", type=int, nargs="+", metavar="GIB", default=SIZES, help="of parents; default 0 1 4 8"
    )
    parser.add_argument("--only", nargs="+", metavar="ROLE", choices=ROLES, default=installed())
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    limits = {"rounds": arguments.rounds, "idle": arguments.idle, "most": arguments.most}
    measure(arguments.only, arguments.results, sizes=fitting(arguments.sizes), **limits)


if __name__ == "__main__":
    main()

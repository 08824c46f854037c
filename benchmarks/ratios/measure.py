"""Measuring side by side: interleaved rounds, ratios of medians, and the table."""

import argparse
import json
import random
import select
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..common.host import host

BLOCKS = 8  # how often a ratio is taken anew, for its spread
GIVE_UP = 30  # seconds


@dataclass(frozen=True)
class Row:
    """One line of the table. ``value``, mostly a ratio, is what the target is compared with."""

    what: str
    value: float
    target: float | None = None  #: at most; None: for information
    low: float | None = None
    high: float | None = None
    sides: str = ""  #: the two medians of a ratio

    @property
    def verdict(self):
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else f"MISSED by {self.value / self.target - 1:.0%}"


def interleaved(rounds, **sides):
    """Calls each side once a round, in random order. A side gives one number or several; the result has all of them."""
    samples = {name: [] for name in sides}
    names = list(sides)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            result = sides[name]()
            samples[name] += result if isinstance(result, list) else [result]
    return samples


def deaths_after(kill, pidfds):
    """Calls ``kill``. The nanoseconds from then to each process's end, by pidfd."""
    ends = {}
    with select.epoll() as epoll:
        for pidfd in pidfds:
            epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        before = time.perf_counter_ns()
        kill()
        while len(ends) < len(pidfds):
            events = epoll.poll(GIVE_UP, 64)
            if not events:
                raise RuntimeError(f"{len(pidfds) - len(ends)} processes outlived it by {GIVE_UP} s")
            ends.update(dict.fromkeys((fd for fd, _ in events), time.perf_counter_ns() - before))
    return ends


def microseconds(nanoseconds):
    return f"{nanoseconds / 1000:,.0f} µs"


def compare(what, ours, theirs, target=None, name="multiprocessing"):
    """The ratio of the medians of two lists of nanoseconds that were taken side by side."""
    return derived(
        what,
        lambda a, b: a / b,
        (ours, theirs),
        target,
        f"{microseconds(statistics.median(ours))} / {microseconds(statistics.median(theirs))} {name}",
    )


def derived(what, value, sides, target=None, text=""):
    """``value`` of the medians of several lists. Its spread is over parts of the run, which all sides share."""
    ratios = []
    for block in range(BLOCKS):
        parts = [side[len(side) * block // BLOCKS : len(side) * (block + 1) // BLOCKS] for side in sides]
        if all(parts):
            ratios.append(value(*map(statistics.median, parts)))
    return Row(what, value(*map(statistics.median, sides)), target, min(ratios), max(ratios), text)


def table(rows):
    lines = ["| what | measured | spread | target | | medians |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = "" if row.low is None else f"{row.low:.2f} to {row.high:.2f}"
        target = "" if row.target is None else f"≤ {row.target:g}"
        lines.append(f"| {row.what} | {row.value:.2f} | {spread} | {target} | {row.verdict} | {row.sides} |")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    widths = [max(len(line[i]) for line in cells if line[i] != "---") for i in range(len(cells[0]))]
    return "\n".join(
        "| "
        + " | ".join(
            "-" * width if cell == "---" else cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        )
        + " |"
        for line in cells
    )


def main(subjects):
    parser = argparse.ArgumentParser(description="Prints one table; exits 0 also when a target is missed.")
    parser.add_argument("--effort", type=float, default=1.0, help="0.2: a fifth of the rounds; default 1")
    parser.add_argument("--json", type=Path, help="write the rows and what they were measured on there")
    arguments = parser.parse_args()
    about = host()
    rows = []
    try:
        for name, measure in subjects.items():
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            rows += measure(lambda rounds: max(BLOCKS, round(rounds * arguments.effort)))
    except KeyboardInterrupt:
        return 130
    print(", ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    print(table(rows))
    missed = [row for row in rows if row.verdict.startswith("MISSED")]
    targets = sum(row.target is not None for row in rows)
    print(f"\n{targets - len(missed)} of {targets} targets met")
    for row in missed:
        print(f"MISSED: {row.what}: {row.value:.2f}, target at most {row.target:g}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"host": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0

"""Measuring side by side: workers, interleaved rounds, ratios of medians, and the table."""

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ._worker import prctl

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = 8  # how often a ratio is taken anew, for its spread
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Row:
    """One line of the table. ``value`` is what the target is about: mostly a ratio."""

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


class Worker:
    """A fresh interpreter that runs ``benchmarks.SUBJECT`` in a role, and is killed at the end, by its pidfd."""

    def __init__(self, subject, role):
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{subject}", "worker", role],
            cwd=ROOT,
            # With compiled files, as the standard library has them: compiling leaves a process a megabyte larger.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def ask(self, name, *arguments):
        self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker {self._process.args[2:]} ended while it was asked for {name}")
        return json.loads(answer)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self):
        with contextlib.suppress(ProcessLookupError):  # killed and reaped
            self.kill()
        self._process.wait()
        os.close(self.pidfd)
        self._process.stdin.close()
        self._process.stdout.close()


@contextlib.contextmanager
def workers(subject, *roles):
    """Their children are guarded, one way or another, and become ours: reaped here, when all are dead."""
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = []
    try:
        for role in roles:
            started.append(Worker(subject, role))
        yield started
    finally:
        for worker in started:
            worker.close()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def interleaved(rounds, **sides):
    """Calls each side once a round, in random order; each gives one number or several. A list for each side."""
    samples = {name: [] for name in sides}
    names = list(sides)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            result = sides[name]()
            samples[name] += result if isinstance(result, list) else [result]
    return samples


def microseconds(nanoseconds):
    return f"{nanoseconds / 1000:,.0f} µs"


def compare(what, ours, theirs, target=None, name="multiprocessing"):
    """The ratio of two lists of nanoseconds that were taken side by side."""
    return derived(
        what,
        lambda a, b: a / b,
        (ours, theirs),
        target,
        f"{microseconds(statistics.median(ours))} / {microseconds(statistics.median(theirs))} {name}",
    )


def derived(what, value, sides, target=None, text=""):
    """``value(*medians)`` of several lists; its spread is over parts of the run, which all sides share."""
    ratios = []
    for block in range(BLOCKS):
        parts = [side[len(side) * block // BLOCKS : len(side) * (block + 1) // BLOCKS] for side in sides]
        if all(parts):
            ratios.append(value(*map(statistics.median, parts)))
    return Row(what, value(*map(statistics.median, sides)), target, min(ratios), max(ratios), text)


def compile_floor(directory):
    """The path of the program of floor.c."""
    program = Path(directory, "floor")
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
    return program


def machine():
    """What every result depends on."""
    models = [
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "machine": platform.machine(),
        "cpu": models[0] if models else "",
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit():
    """The last that changed what is measured; with + where the files differ from it."""
    if shutil.which("git") is None:
        return "unknown"

    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    last = git("log", "-1", "--format=%h", "--", "src", "csrc")
    return last + ("+" if git("status", "-s", "src", "csrc") else "") if last else "unknown"  # not a clone, or not ours


def host():
    """The same, and what else a time depends on."""
    now = {"load": round(os.getloadavg()[0], 2), "date": time.strftime("%Y-%m-%d %H:%M")}
    return {**machine(), **now, "commit": commit()}


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

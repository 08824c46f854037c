"""Every strategy, every fault: ``make bench``. Goes on where it left off, from the JSON files in results/.

One trial runs at a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..common.host import RESULTS, ROOT
from ..common.processes import adopt_orphans, end_all
from ..strategies.catalogue import STRATEGIES
from .cells import Cell, Results, measure
from .rows import ROWS, impossible, not_applicable

TRIALS = 20
QUICK = 3
QUICK_ROWS = "kill", "term", "setsid", "early-thread"
QUICK_STRATEGIES = (
    *("multiprocessing_fork", "subprocess_popen", "daemon_flag", "sigterm_after", "killpg_handler", "getppid_polling"),
    *("pipe_eof_thread", "ctypes_preexec", "pdeathsig_forkserver", "bwrap_die", "loky_executor", "processkit_flag"),
    *("our_fork", "our_spawn", "our_forkserver", "our_popen", "our_run_subreaper", "our_tree_pidns"),
)
GUESS = 0.6  #: seconds a trial, before anything was measured


@dataclass(frozen=True)
class Plan:
    names: list[str]
    rows: list[str]
    trials: int
    again: bool  #: measure also what was measured already


class Estimate:
    """How long the rest takes: from the cells of the same row that were measured already, else from all cells."""

    def __init__(self) -> None:
        self._of_row: dict[str, list[float]] = {}

    def add(self, key: str, cell: Cell) -> None:
        tried = cell["trials"] + len(cell.get("failed", ()))
        if tried:
            self._of_row.setdefault(key, []).append(cell["seconds"] / tried)

    def seconds(self, keys: list[str], trials: int) -> float:
        every = [value for values in self._of_row.values() for value in values]
        mean = statistics.mean(every) if every else GUESS
        return trials * sum(statistics.mean(self._of_row.get(key, [mean])) for key in keys)


def in_words(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def todo(plan: Plan, results: Results, estimate: Estimate) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each strategy's result, and the rows that are still to be measured. What cannot be done here is written down."""
    for name in plan.names:
        result = results.open(name)
        result["missing"] = STRATEGIES[name].missing()
        left = []
        if not result["missing"]:
            for key in plan.rows:
                row = ROWS[key]
                cell = result["cells"].get(key)
                if cell and not plan.again and (cell["trials"] >= plan.trials or "refused" in cell):
                    estimate.add(key, cell)
                elif not_applicable(row, name):
                    result["cells"].pop(key, None)
                elif why := impossible(row):
                    result["cells"][key] = {"trials": 0, "impossible": why}
                else:
                    left.append(key)
        results.save(result)
        yield result, left


def run(plan: Plan, results: Results, console: Console) -> None:
    estimate = Estimate()
    work = list(todo(plan, results, estimate))
    waiting = [key for _, left in work for key in left]
    text = TextColumn("{task.description}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        Progress(text, BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"), console=console) as bar,
    ):
        task = bar.add_task("", total=len(waiting), left="")
        for result, keys in work:
            name = result["strategy"]
            for key in keys:
                left = in_words(estimate.seconds(waiting, plan.trials))
                bar.update(task, description=f"{name}: {ROWS[key].title}", left=f"{left} left")
                cell = measure(name, ROWS[key], plan.trials, Path(scratch))
                result["cells"][key] = cell
                results.save(result)
                estimate.add(key, cell)
                waiting.remove(key)
                bar.advance(task)


def interrupted(signum: int, _: object) -> None:
    raise SystemExit(128 + signum)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rows, few trials, results thrown away: 3 minutes")
    parser.add_argument("--cross", action="store_true", help="every way to end with every kind of child: many hours")
    parser.add_argument("--trials", type=int, help=f"of each cell; default {TRIALS}, quick {QUICK}")
    parser.add_argument("--only", nargs="+", metavar="STRATEGY")
    parser.add_argument("--rows", nargs="+", metavar="ROW")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--results", type=Path, default=RESULTS / "matrix")
    arguments = parser.parse_args()
    rows = arguments.rows or [key for key, row in ROWS.items() if arguments.cross or row.group != "cross"]
    directory = arguments.results
    if arguments.quick:
        rows = arguments.rows or list(QUICK_ROWS)
        directory = Path(tempfile.mkdtemp())
    names = arguments.only or (QUICK_STRATEGIES if arguments.quick else STRATEGIES)
    trials = arguments.trials or (QUICK if arguments.quick else TRIALS)
    os.chdir(ROOT)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)
    adopt_orphans()
    console = Console()
    try:
        run(Plan(list(names), rows, trials, arguments.again), Results(directory), console)
        if arguments.quick:
            from ..render.matrix_tables import for_terminal

            console.print(for_terminal(directory, rows), soft_wrap=True, highlight=False, markup=False)
    except KeyboardInterrupt:
        return 130
    finally:
        end_all()
        if arguments.quick:
            shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())

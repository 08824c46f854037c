"""Every strategy, every fault: ``make bench``. Takes up where it left off, from the JSON files in results/.

One trial at a time. A cell is what is in the tables: survivors and early deaths over so many trials, and the time from
the parent's own death to the last child's.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from . import _measure, strategies
from .rows import ROWS, SHORT, Patience, Row, impossible, not_applicable, perform
from .trial import ROOT, Failed, Refused, adopt_orphans, end_all

RESULTS = ROOT / "benchmarks" / "results" / "matrix"
TRIALS = 20
QUICK = 3
QUICK_ROWS = "kill", "term", "setsid", "early-thread"
QUICK_STRATEGIES = (
    *("multiprocessing_fork", "subprocess_popen", "daemon_flag", "sigterm_after", "killpg_handler", "getppid_polling"),
    *("pipe_eof_thread", "ctypes_preexec", "pdeathsig_forkserver", "bwrap_die", "loky_executor", "processkit_flag"),
    *("our_fork", "our_spawn", "our_forkserver", "our_popen", "our_run_subreaper", "our_tree_pidns"),
)
GUESS = 0.6  #: seconds a trial, before anything was measured

Cell = dict[str, Any]


def host(strategy: ModuleType) -> dict[str, Any]:
    """What a cell depends on. Measured anew where it differs."""
    versions = {}
    for need in getattr(strategy, "NEEDS", ()):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            name = getattr(strategy, "PACKAGE", need)
            versions[name] = importlib.metadata.version(name)
    found = {**_measure.machine(), "versions": versions, "uid": os.geteuid()}
    if getattr(strategy, "ORPHANGUARD", False):
        found["commit"] = _measure.commit()
    return found


class Results:
    """One file a strategy. ``again``: what was measured already is not enough."""

    def __init__(self, directory: Path, again: bool) -> None:
        self.directory = directory
        self.again = again
        directory.mkdir(parents=True, exist_ok=True)

    def open(self, name: str, strategy: ModuleType) -> dict[str, Any]:
        path = self.directory / f"{name}.json"
        here = host(strategy)
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["host"] == here:
                return found
        return {"strategy": name, "missing": "", "host": here, "cells": {}}

    def save(self, result: dict[str, Any]) -> None:
        path = self.directory / f"{result['strategy']}.json"
        new = path.with_suffix(".new")
        cells = ",\n".join(f"  {json.dumps(key)}: {json.dumps(cell)}" for key, cell in result["cells"].items())
        about = json.dumps({**result, "cells": {}}, indent=1)
        new.write_text(about.replace('"cells": {}', f'"cells": {{\n{cells}\n }}' if cells else '"cells": {}') + "\n")
        new.replace(path)  # an interrupted run leaves the file whole


def measure(name: str, strategy: ModuleType, row: Row, trials: int, scratch: Path) -> Cell:
    begun = time.monotonic()
    cell: Cell = {"trials": 0, "started": 0, "survivors": 0, "early": 0, "waits": 0, "ms": []}
    patience = Patience()
    strays: set[str] = set()
    for _ in range(trials):
        try:
            outcome = perform(name, strategy, row, scratch, patience)
        except Refused as error:
            cell["refused"] = str(error)
            break  # it always will
        except Failed as error:
            cell.setdefault("failed", []).append(str(error))
            if len(cell["failed"]) == 3:
                break
            continue
        if outcome.waits and cell["waits"] == cell["trials"]:  # so far always
            patience = replace(patience, parent=SHORT)
        if outcome.survivors and cell["survivors"] == 0 == cell["trials"]:
            patience = replace(patience, child=max(SHORT, 2 * outcome.others))
        cell["trials"] += 1
        cell["started"] += outcome.started
        cell["survivors"] += outcome.survivors
        cell["early"] += outcome.early
        cell["waits"] += outcome.waits
        if outcome.unarmed is not None:
            cell["unarmed"] = cell.get("unarmed", 0) + outcome.unarmed
        if outcome.late is not None:
            cell["ms"].append(round(outcome.late * 1000, 2))
        strays.update(outcome.strays)
    if strays:
        cell["strays"] = sorted(strays)[:3]
    cell["seconds"] = round(time.monotonic() - begun, 2)
    cell["date"] = time.strftime("%Y-%m-%d %H:%M")
    return cell


class Estimate:
    """Of the seconds that are left, from the cells of this row, else from all, that were measured already."""

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


def todo(
    results: Results, names: list[str], rows: list[str], trials: int, estimate: Estimate
) -> Iterator[tuple[dict[str, Any], ModuleType, list[str]]]:
    """Each strategy with the rows that are not measured yet; what is missing is written down as such."""
    for name in names:
        try:
            strategy = strategies.load(name)
        except ImportError as error:
            results.save({"strategy": name, "missing": error.name or str(error), "host": {}, "cells": {}})
            continue
        result = results.open(name, strategy)
        result["missing"] = strategies.missing(strategy)
        left = []
        if not result["missing"]:
            for key in rows:
                row = ROWS[key]
                cell = result["cells"].get(key)
                if cell and not results.again and (cell["trials"] >= trials or "refused" in cell):
                    estimate.add(key, cell)
                elif not_applicable(row, name):
                    result["cells"].pop(key, None)
                elif why := impossible(row):
                    result["cells"][key] = {"trials": 0, "impossible": why}
                else:
                    left.append(key)
        results.save(result)
        yield result, strategy, left


def run(results: Results, names: list[str], rows: list[str], trials: int, console: Console) -> None:
    estimate = Estimate()
    work = list(todo(results, names, rows, trials, estimate))
    waiting = [key for _, _, left in work for key in left]
    text = TextColumn("{task.description}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        Progress(text, BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"), console=console) as bar,
    ):
        task = bar.add_task("", total=len(waiting), left="")
        for result, strategy, keys in work:
            for key in keys:
                left = in_words(estimate.seconds(waiting, trials))
                bar.update(task, description=f"{result['strategy']}: {ROWS[key].title}", left=f"{left} left")
                cell = measure(result["strategy"], strategy, ROWS[key], trials, Path(scratch))
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
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = arguments.rows or [key for key, row in ROWS.items() if arguments.cross or row.group != "cross"]
    directory = arguments.results
    if arguments.quick:
        rows = arguments.rows or list(QUICK_ROWS)
        directory = Path(tempfile.mkdtemp())
    names = arguments.only or (QUICK_STRATEGIES if arguments.quick else strategies.names())
    trials = arguments.trials or (QUICK if arguments.quick else TRIALS)
    os.chdir(ROOT)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)
    adopt_orphans()
    console = Console()
    try:
        run(Results(directory, arguments.again), list(names), rows, trials, console)
        if arguments.quick:
            from . import tables

            console.print(tables.for_terminal(directory, rows), soft_wrap=True, highlight=False, markup=False)
    except KeyboardInterrupt:
        return 130
    finally:
        end_all()
        if arguments.quick:
            shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())

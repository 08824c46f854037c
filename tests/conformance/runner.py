"""Runs CPython's own tests with orphanguard in the place of a standard module, and compares with that module.

The suites beside this file use it. Where `SUITE` is set, a suite takes its module's place and puts the tests into its
globals; else it calls `main`. The Python that runs the suite is the one that is tested: it must have orphanguard and
the ``test`` package. With ``--stock`` the same tests run against the standard library alone. A test that fails runs
once more, by itself; if it passes then it is called unstable. The tests that still fail, or are skipped, are compared
with the latest stock run in DIR, or with a stock run of these tests. The exit status is 1 if a test fails or is skipped
that stock passes, or if a process is left behind.

The tests run in a worker process. If a test takes too long, the stacks of all processes are reported, the worker's
whole tree is ended, and a new worker runs the rest. Processes that outlive a worker are reported and ended.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Set in the worker, and so in each process that its tests start.
SUITE = os.environ.get("ORPHANGUARD_SUITE", "")
STOCK = "ORPHANGUARD_STOCK" in os.environ
STACKS = signal.SIGUSR2  # no test uses this signal
WAIT_FOR_HELPERS = 10.0  # seconds; the fork server and the resource tracker end a moment after their user

BAD = ("fail", "error", "timeout", "died", "not run")


# --- in the worker --------------------------------------------------------------------------------------------

if SUITE:
    faulthandler.register(STACKS, all_threads=True)


class Result(unittest.TextTestResult):
    """Writes one JSON object a line for each test that starts and ends."""

    record: Any

    def say(self, test: Any, outcome: str, text: str = "") -> None:
        self.record.write(json.dumps([test.id(), outcome, text]) + "\n")
        self.record.flush()

    def startTest(self, test: Any) -> None:  # noqa: N802
        self.say(test, "start")
        super().startTest(test)

    def stopTest(self, test: Any) -> None:  # noqa: N802
        super().stopTest(test)
        self.say(test, "stop")

    def addSuccess(self, test: Any) -> None:  # noqa: N802
        super().addSuccess(test)
        self.say(test, "ok")

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self.say(test, "fail", self.failures[-1][1])

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self.say(test, "error", self.errors[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.say(test, "fail", f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.say(test, "skip", reason)


def flatten(suite: unittest.TestSuite) -> list[Any]:
    return [test for part in suite for test in (flatten(part) if isinstance(part, unittest.TestSuite) else [part])]


def work(record: str, wanted: list[str] | None) -> None:
    """Runs the tests with the ids ``wanted``. None: lists all tests."""
    tests = flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    with open(record, "a") as Result.record:
        if wanted is None:
            for each in tests:
                Result.record.write(json.dumps(each.id()) + "\n")
            return
        chosen = unittest.TestSuite(each for each in tests if each.id() in set(wanted))
        unittest.TextTestRunner(verbosity=2, resultclass=Result).run(chosen)


# --- the driver -----------------------------------------------------------------------------------------------


def processes_below(root: int) -> list[int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def describe(pid: int) -> str:
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
        return f"{pid} (child of {status['PPid'].strip()}, {status['State'].strip()}): {command}"
    except OSError:
        return f"{pid}: gone"


def catches(pid: int, sig: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (sig - 1) & 1)
    return False


def prepare_worker() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; not ours, since stock is run this way too
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it for background jobs


class Run:
    """Runs all tests of one suite, in as many workers as it takes."""

    def __init__(self, arguments: argparse.Namespace, stock: bool, directory: Path, log: Any) -> None:
        self.script = arguments.script
        self.environment = {**os.environ, "ORPHANGUARD_SUITE": arguments.suite}
        if stock:
            self.environment["ORPHANGUARD_STOCK"] = "1"
        self.timeout = arguments.timeout
        self.directory = directory
        self.log = log
        self.leftovers: list[str] = []

    def start_worker(self, record: Path, wanted: list[str] | None) -> subprocess.Popen[bytes]:
        todo = self.directory / "todo.json"
        todo.write_text(json.dumps(wanted))
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", self.script, "--worker", str(record), str(todo)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=prepare_worker,  # noqa: PLW1509 (no threads here)
        )

    def list_tests(self) -> list[str]:
        record = self.directory / "list.jsonl"
        if self.start_worker(record, None).wait() != 0:
            raise SystemExit(f"the tests could not be loaded: see {self.log.name}")
        return [json.loads(line) for line in record.read_text().splitlines()]

    def run(self, wanted: list[str]) -> dict[str, list[str]]:
        """The outcome and its text by test id."""
        results: dict[str, list[str]] = {}
        left = list(wanted)
        attempt = 0
        while left:
            attempt += 1
            record = self.directory / f"record-{time.monotonic_ns()}.jsonl"
            record.touch()
            before = len(results)
            self.watch(self.start_worker(record, left), record, results)
            left = [test for test in left if test not in results]
            if len(results) == before:  # not one test was run
                results.update({test: ["not run", ""] for test in left})
                break
        return results

    def watch(self, worker: subprocess.Popen[bytes], record: Path, results: dict[str, list[str]]) -> None:
        current, since = None, time.monotonic()
        with record.open() as lines:
            while True:
                ended = worker.poll() is not None
                for line in lines:
                    test, outcome, text = json.loads(line)
                    since = time.monotonic()
                    if outcome == "start":
                        current = test
                    elif outcome == "stop":
                        current = None
                    elif results.get(test, ["ok"])[0] in ("ok", "skip"):
                        results[test] = [outcome, text]
                if ended:
                    break
                if time.monotonic() - since > self.timeout:
                    text = self.show_stacks(worker.pid)
                    results[current or "between tests"] = ["timeout", text]
                    current = None
                    break
                time.sleep(0.1)
        if current:
            results[current] = ["died", f"the worker's return code was {worker.returncode}"]
        self.clean_up(worker, results)

    def show_stacks(self, root: int) -> str:
        pids = [root, *processes_below(root)]
        text = "\n".join(map(describe, pids))
        self.log.write(f"\n=== timeout; processes:\n{text}\n")
        for pid in pids:
            if catches(pid, STACKS):
                self.log.write(f"=== stacks of {pid}\n")
                self.log.flush()
                os.kill(pid, STACKS)
                time.sleep(0.5)
        return text

    def clean_up(self, worker: subprocess.Popen[bytes], results: dict[str, list[str]]) -> None:
        """Ends and reports what a worker has left behind, whose subreaper this process is."""
        if worker.poll() is None:
            worker.kill()
            worker.wait()
        deadline = time.monotonic() + WAIT_FOR_HELPERS
        while processes_below(os.getpid()) and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.05)
        for pid in processes_below(os.getpid()):
            self.leftovers.append(describe(pid))
        while left := processes_below(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()

    @staticmethod
    def reap() -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def left_out() -> dict[str, str]:
    lines = (HERE / "left_out.txt").read_text().splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def drive(arguments: argparse.Namespace) -> int:
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    version = ".".join(map(str, sys.version_info[:3]))
    results_dir = Path(arguments.results).resolve()
    results_dir.mkdir(parents=True, exist_ok=True)
    stock_file = results_dir / f"{version}-{arguments.suite}-stock.json"
    name = f"{version}-{arguments.suite}-{'stock' if arguments.stock else 'orphanguard'}"

    with tempfile.TemporaryDirectory() as directory, (results_dir / f"{name}.log").open("w", buffering=1) as log:
        run = Run(arguments, arguments.stock, Path(directory), log)
        tests = run.list_tests()
        if arguments.k:
            tests = [test for test in tests if any(fnmatch.fnmatch(test, f"*{k}*") for k in arguments.k)]
        skipped = [] if arguments.stock else [t for t in tests if any(fnmatch.fnmatch(t, p) for p in left_out())]
        began = time.monotonic()
        results = run.run([test for test in tests if test not in skipped])
        took = time.monotonic() - began
        bad = {test: result for test, result in results.items() if result[0] in BAD}
        again = {test: run.run([test]) for test in bad if test in tests}
        unstable = {test for test, result in again.items() if result.get(test, ["not run"])[0] == "ok"}
        stock: dict[str, list[str]] = {}
        if not arguments.stock:
            stock = json.loads(stock_file.read_text()) if stock_file.exists() else {}
            unknown = [test for test in tests if test not in stock and results.get(test, ["ok"])[0] != "ok"]
            stock.update(Run(arguments, True, Path(directory), log).run(unknown))
        skipped_by_us = [
            test
            for test, result in results.items()
            if stock and result[0] == "skip" and stock.get(test, ["skip"])[0] not in ("skip", *BAD)
        ]
        # Ours run by themselves again, as stock's did: some tests of CPython change the start method for later ones.
        alone = run.run(skipped_by_us)
        skipped_by_us = [test for test in skipped_by_us if alone[test][0] != "ok"]

    if not arguments.k:
        (results_dir / f"{name}.json").write_text(json.dumps(results, indent=1))
    ours = [test for test in bad if test not in unstable and stock.get(test, ["ok"])[0] not in BAD]

    for test, (outcome, text) in bad.items():
        note = "unstable" if test in unstable else "" if test in ours else "in stock too"
        print(f"=== {outcome} {test} {note and f'({note})'}\n{text}")
    for test in skipped_by_us:
        print(f"=== skipped, but not in stock: {test}: {results[test][1]}")
    for process in run.leftovers:
        print(f"=== left behind: {process}")
    outcomes = [result[0] for result in results.values()]
    print(
        f"{name}: {len(results)} run, {outcomes.count('ok')} ok, {outcomes.count('skip')} skipped, {len(bad)} not ok "
        f"({len(unstable)} of them unstable"
        + ("" if arguments.stock else f", {len(bad) - len(unstable) - len(ours)} in stock too")
        + f"), {len(skipped)} left out, {len(run.leftovers)} processes left behind, {took:.0f} s"
    )
    return bool(bad) if arguments.stock else bool(ours or skipped_by_us or run.leftovers)


def main(script: str, suites: tuple[str, ...]) -> None:
    """For the main module ``script``: the driver of ``suites``, or a worker of it."""
    if sys.argv[1:2] == ["--worker"]:
        return work(sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
    parser = argparse.ArgumentParser()
    parser.set_defaults(script=script)
    parser.add_argument("suite", choices=suites)
    parser.add_argument("-k", action="append", help="only tests whose id has this in it (fnmatch)")
    parser.add_argument("--stock", action="store_true", help="the standard library alone")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds a test may take")
    parser.add_argument("--results", default=HERE.parent.parent / "build" / "conformance")
    sys.exit(drive(parser.parse_args()))

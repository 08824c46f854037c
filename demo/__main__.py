"""Runs every program, does every fault to it, and says what became of the children.

Exit status 0 means: orphanguard left no child alive and lost none early, and the plain programs orphaned theirs.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType

from benchmarks.common.processes import adopt_orphans

from .family import kill_all, sweep
from .faults import perform
from .rows import ROWS, Failure, Fault, Outcome, Row
from .screen import Screen

HELPERS_END = 2.0  # seconds that multiprocessing's helpers have to end by themselves


def run(screen: Screen, row: Row) -> None:
    """Does all faults at the same time, each to a process of its own: so the whole takes a third of a minute."""
    stop = threading.Event()

    def one(fault: Fault) -> None:
        screen.done(row, fault, perform(row, fault, lambda text: screen.say(fault, text), stop))

    screen.begin(row)
    with ThreadPoolExecutor(len(Fault)) as executor:
        futures = [executor.submit(one, fault) for fault in Fault]
        try:
            for future in futures:
                future.result()
        except BaseException:
            ignore_interruptions()
            stop.set()
            while wait(futures, 0.05).not_done:
                kill_all()
            raise
    sweep(HELPERS_END)
    screen.end(row)


def surprises(screen: Screen) -> list[str]:
    """All that is not as promised, one sentence each."""
    found = []
    for row, outcomes in screen.results.items():
        name = row.name.strip()
        for fault in Fault:
            outcome = outcomes[fault]
            if isinstance(outcome, Failure):
                found.append(f"{name} could not be tried: {outcome.reason}")
            elif row.kind == "orphanguard":
                if fault.ends_parent and outcome.left:
                    found.append(f"{name} left {outcome.left} children alive after {fault.value}.")
                elif not fault.ends_parent and outcome.killed:
                    found.append(f"{name} lost {outcome.killed} children early: {fault.value}.")
                elif not outcome.hit_ended:
                    found.append(f"{name}: {fault.value} did not work, so nothing was shown.")
                elif outcome.parent_lives == fault.ends_parent:
                    found.append(f"{name}: the parent ended by {fault.value}.")
            elif row.kind == "article" and fault is Fault.KILL_PARENT and outcome.left < outcome.children:
                found.append(f"{name} orphaned only {outcome.left} of {outcome.children} children after kill -9.")
    return list(dict.fromkeys(found))  # one program may fail four times for the same reason


def verdict(screen: Screen, unexpected: list[str], seconds: float) -> str:
    def total(kind: str, *faults: Fault) -> tuple[int, int]:
        seen = [
            outcome
            for row, outcomes in screen.results.items()
            for fault, outcome in outcomes.items()
            if row.kind == kind and fault in faults and isinstance(outcome, Outcome)
        ]
        return sum(outcome.left for outcome in seen), sum(outcome.children for outcome in seen)

    orphans, plain = total("article", Fault.KILL_PARENT)
    left, guarded = total("orphanguard", Fault.TERM_PARENT, Fault.KILL_PARENT)
    alive, kept = total("orphanguard", Fault.TERM_CHILD, Fault.THREAD_ENDS)
    return (
        f" {'NOT ' if unexpected else ''}OK: kill -9 orphaned {orphans} of {plain} unguarded children.\n"
        f" orphanguard left {left} of {guarded} alive and lost {kept - alive} of {kept} early."
        f" ({seconds:.0f} s, all cleaned up)"
    )


def main() -> int:
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)
    adopt_orphans()
    begun = time.monotonic()
    screen = Screen()
    try:
        with screen:
            for row in ROWS:
                run(screen, row)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        ignore_interruptions()
        kill_all()
        sweep(0)
    unexpected = surprises(screen)
    screen.finish(unexpected, verdict(screen, unexpected, time.monotonic() - begun))
    return 1 if unexpected else 0


def interrupted(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def ignore_interruptions() -> None:
    """Cleaning up takes a moment, and must be finished."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())

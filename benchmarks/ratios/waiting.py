"""``orphanguard.wait`` for the next of 5,000 live children, to the next of 10.

The child has finished when wait is called, just now or a while ago; or it gets SIGKILL just before, so that the time
contains its death. As 5,000 children inherit each other's fds, a death alone takes longer than with 10: a poll of the
one pidfd, in turns with wait, tells how long. The death also drives the parent's memory out of the processor's caches;
with 10, all of it is still there from the start of the last child. After a while asleep, both have to load it.
"""

import random
import signal
import time
from multiprocessing.connection import wait as standard_wait
from time import perf_counter_ns as now

from ..common.worker import serve, sleep_for_ever, until_readable
from .subject import fork_context, grow, main

FEW, MANY = 10, 5000
ASLEEP = 0.02  # seconds
CASES = {"has finished": "set list", "finished 20 ms ago": "set", "is killed just before": "set list"}


def worker(role):
    import orphanguard

    context = fork_context("ours")
    live = []

    def next_one(case, collection):
        """Kills one child, and returns the time of the wait that returns it. A new child takes its place."""
        victim = random.choice(live)
        handles = {"set": set, "list": list}[collection](live)
        pidfd = victim.sentinel
        before = now()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if case != "is killed just before":
            until_readable(pidfd)
            time.sleep(0 if case == "has finished" else ASLEEP)
            before = now()
        done = orphanguard.wait(handles)
        took = now() - before
        assert done == [victim], done
        replace(victim)
        return took

    def poll_one():
        """The floor under the case "is killed just before": a poll of the dying child alone."""
        victim = random.choice(live)
        before = now()
        signal.pidfd_send_signal(victim.sentinel, signal.SIGKILL)
        until_readable(victim.sentinel)
        took = now() - before
        victim.join()
        replace(victim)
        return took

    def standard():
        """The time of multiprocessing.connection.wait over the same children, one of which has finished."""
        victim = random.choice(live)
        sentinels = [process.sentinel for process in live]
        signal.pidfd_send_signal(victim.sentinel, signal.SIGKILL)
        until_readable(victim.sentinel)
        before = now()
        done = standard_wait(sentinels)
        took = now() - before
        assert done == [victim.sentinel], done
        victim.join()
        replace(victim)
        return took

    def replace(victim):
        live.remove(victim)
        victim.close()
        grow(live, len(live) + 1, context, sleep_for_ever)

    serve(
        grow=lambda count: grow(live, count, context, sleep_for_ever),
        next_one=next_one,
        poll_one=poll_one,
        standard=standard,
    )


def measure(rounds):
    from ..common.workers import workers
    from .measure import compare, interleaved

    with workers("ratios.waiting", "few", "many") as (few, many):
        few.ask("grow", FEW)
        many.ask("grow", MANY)
        subjects = {f"{case} {kind}": (case, kind) for case, kinds in CASES.items() for kind in kinds.split()}
        sides = {}
        for name, worker in ("few", few), ("many", many):
            for subject, what in subjects.items():
                sides[f"{name} {subject}"] = lambda w=worker, what=what: w.ask("next_one", *what)
            sides[f"{name} poll"] = lambda w=worker: w.ask("poll_one")
            sides[f"{name} standard"] = lambda w=worker: w.ask("standard")
        took = interleaved(rounds(100), **sides)
    of, ten = f"of {MANY:,} children, to {FEW}", f"with {FEW}"
    rows = [
        compare(f"wait({kind}) {of}: one {case}", took[f"many {subject}"], took[f"few {subject}"], 2, name=ten)
        for subject, (case, kind) in subjects.items()
    ]
    return [
        *rows,
        compare(
            f"wait(set) of {MANY:,}, to a poll of that child's pidfd alone: one is killed just before",
            took["many is killed just before set"],
            took["many poll"],
            name="poll",
        ),
        compare(
            f"wait(set) of {FEW}, to a poll of that child's pidfd alone: one is killed just before",
            took["few is killed just before set"],
            took["few poll"],
            name="poll",
        ),
        compare(f"poll of the killed child's pidfd alone, {of}", took["many poll"], took["few poll"], name=ten),
        compare(
            f"wait(set) of {MANY:,}, to multiprocessing.connection.wait: one has finished",
            took["many has finished set"],
            took["many standard"],
            name="connection.wait",
        ),
    ]


if __name__ == "__main__":
    main(measure, worker)

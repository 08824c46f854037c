"""Starting and joining a no-op child by fork: ours, multiprocessing's, and a raw os.fork.

Each side is a process of its own, since importing orphanguard installs at-fork handlers, which would slow the other
sides down too. The sides take turns within a run.
"""

import os
from time import perf_counter_ns as now

from ..common.worker import nothing, serve, sleep_for_ever
from .subject import fork_context, grow, main

FEWER, MANY = 1000, 2000
BATCH = 5


def worker(role):
    context = fork_context(role)
    live = []

    def start(count):
        """For each child, the time of start(), and of start() and join()."""
        times = []
        for _ in range(count):
            process = context.Process(target=nothing)
            before = now()
            process.start()
            started = now()
            process.join()
            times.append([started - before, now() - before])
            process.close()
        return times

    def raw(count):
        times = []
        for _ in range(count):
            before = now()
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            started = now()
            os.waitpid(pid, 0)
            times.append([started - before, now() - before])
        return times

    serve(grow=lambda count: grow(live, count, context, sleep_for_ever, arm=True), start=start, raw=raw)


def measure(rounds):
    from ..common.workers import workers
    from .measure import Row, compare, derived, interleaved, microseconds

    def take(names):
        times = interleaved(
            rounds(120), **{name: lambda w=w, do=do: w.ask(do, BATCH) for name, (w, do) in names.items()}
        )
        starts = {name: [pair[0] for pair in pairs] for name, pairs in times.items()}
        return starts, {name: [pair[1] for pair in pairs] for name, pairs in times.items()}

    with workers("ratios.start", "ours", "theirs", "ours", "theirs") as (ours, theirs, ours_full, theirs_full):
        none, none_joined = take(
            {"ours": (ours, "start"), "theirs": (theirs, "start"), "raw": (ours, "raw"), "clean": (theirs, "raw")}
        )
        for worker in ours_full, theirs_full:
            worker.ask("grow", FEWER)
        fewer, _ = take({"ours": (ours_full, "start"), "theirs": (theirs_full, "start")})
        fds = (ours_full.fds() - ours.fds()) / FEWER
        for worker in ours_full, theirs_full:
            worker.ask("grow", MANY)
        # Parents with none and with many children take turns too, since the growth is a difference of the two.
        starts, _ = take(
            {
                "ours": (ours, "start"),
                "raw": (ours, "raw"),
                "ours_full": (ours_full, "start"),
                "raw_full": (ours_full, "raw"),
                "theirs_full": (theirs_full, "start"),
            }
        )
    growth = [starts[name] for name in ("ours_full", "ours", "raw_full", "raw")]
    grown = [sorted(side)[len(side) // 2] for side in growth]
    return [
        compare("fork: start and join, no other child", none_joined["ours"], none_joined["theirs"], 1.05),
        compare("fork: start alone, no other child", none["ours"], none["theirs"]),
        compare("fork: start and join, to os.fork and waitpid", none_joined["ours"], none_joined["raw"], name="raw"),
        compare(
            "os.fork and waitpid with orphanguard imported, to without",
            none_joined["raw"],
            none_joined["clean"],
            name="without",
        ),
        compare(f"fork: start at {FEWER:,} live children", fewer["ours"], fewer["theirs"], 0.25),
        compare(f"fork: start at {MANY:,} live children", starts["ours_full"], starts["theirs_full"], 0.25),
        Row(f"fds of the parent for each of {FEWER:,} children", fds, 1.1),
        derived(
            f"fork: what start grows by from 0 to {MANY:,} live children, to raw os.fork's",
            lambda a, b, c, d: (a - b) / (c - d),
            growth,
            1.2,
            f"{microseconds(grown[0] - grown[1])} / {microseconds(grown[2] - grown[3])} raw",
        ),
    ]


if __name__ == "__main__":
    main(measure, worker)

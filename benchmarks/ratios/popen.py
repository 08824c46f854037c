"""``Popen(["/bin/true"]).wait()``: guarded, against the standard library's unguarded one.

It is measured in parents of 0, 1 and 4 GiB, from a worker thread, with many fds open, and from 8 threads at once; and
against a bare C loop of posix_spawn and waitpid (floor.c). With a preexec_fn or ``user=``, subprocess has to fork.
"""

import os
import subprocess
import tempfile
import threading
from time import perf_counter_ns as now

from ..common.worker import ballast, serve
from .subject import main

PROGRAM = ["/bin/true"]
BATCH = 5
THREADS = 8
FDS = 2000
SIZES = "0", "1", "4"  # GiB


def worker(gib):
    import orphanguard.subprocess as guarded

    memory = ballast(int(gib))  # noqa: F841

    def popen(library, **keywords):
        if keywords.pop("hook", False):
            keywords["preexec_fn"] = os.getpid
        return {"ours": guarded, "theirs": subprocess}[library].Popen(PROGRAM, **keywords)

    def times(library, count, keywords):
        result = []
        for _ in range(count):
            before = now()
            popen(library, **keywords).wait()
            result.append(now() - before)
        return result

    def with_fds(library, count):
        fds = [os.dup(0) for _ in range(FDS)]
        result = times(library, count, {})
        for fd in fds:
            os.close(fd)
        return result

    def from_thread(library, count, keywords):
        result = []
        thread = threading.Thread(target=lambda: result.extend(times(library, count, keywords)))
        thread.start()
        thread.join()
        return result

    def at_once(library, count):
        """One number: the time that all threads take together, per program."""
        threads = [threading.Thread(target=times, args=(library, count, {})) for _ in range(THREADS)]
        before = now()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (now() - before) // (count * THREADS)

    serve(times=times, from_thread=from_thread, with_fds=with_fds, at_once=at_once)


def build_floor(directory):
    from ..common.floor import compile_floor

    floor = compile_floor(directory)
    return lambda: list(map(int, subprocess.check_output([floor, PROGRAM[0], str(BATCH)]).split()))


def measure(rounds):
    from ..common.workers import workers
    from .measure import compare, interleaved

    rows = []
    with tempfile.TemporaryDirectory() as directory, workers("ratios.popen", *SIZES, *SIZES) as both:
        # Each library has processes of its own: the high fds that ours has open make every vfork slower.
        ours, theirs = (dict(zip(SIZES, side, strict=True)) for side in (both[:3], both[3:]))
        took = interleaved(
            rounds(100),
            floor=build_floor(directory),
            **{
                f"{side} {gib}": lambda side=side, worker=worker: worker.ask("times", side, BATCH, {})
                for side, by_size in (("ours", ours), ("theirs", theirs))
                for gib, worker in by_size.items()
            },
            unguarded=lambda: ours["0"].ask("times", "ours", BATCH, {"guard": False}),
            thread=lambda: ours["0"].ask("from_thread", "ours", BATCH, {}),
            ours_fds=lambda: ours["0"].ask("with_fds", "ours", BATCH),
            theirs_fds=lambda: theirs["0"].ask("with_fds", "theirs", BATCH),
            ours_8=lambda: ours["0"].ask("at_once", "ours", BATCH),
            theirs_8=lambda: theirs["0"].ask("at_once", "theirs", BATCH),
        )
        slow = interleaved(
            rounds(16),
            ours=lambda: ours["4"].ask("times", "ours", 1, {}),
            hook=lambda: theirs["4"].ask("times", "theirs", 1, {"hook": True}),
            **(
                {
                    "ours_user": lambda: ours["4"].ask("times", "ours", 1, {"user": 65534}),
                    "theirs_user": lambda: theirs["4"].ask("times", "theirs", 1, {"user": 65534}),
                }
                if os.geteuid() == 0
                else {}
            ),
        )
    name = "subprocess"
    for gib in SIZES:
        what = f"Popen and wait, parent of {gib} GiB"
        rows.append(compare(what, took[f"ours {gib}"], took[f"theirs {gib}"], 1.0, name=name))
    rows += [
        compare("the same, `guard=False`, 0 GiB", took["unguarded"], took["theirs 0"], name=name),
        compare("to posix_spawn and waitpid in C", took["ours 0"], took["floor"], 1.25, name="C"),
        compare("from a worker thread, to from the main one", took["thread"], took["ours 0"], 1.1, name="main"),
        compare(f"from {THREADS} threads at once", took["ours_8"], took["theirs_8"], 1.0, name=name),
        compare(f"parent has {FDS:,} fds open", took["ours_fds"], took["theirs_fds"], name=name),
        compare("to subprocess with `preexec_fn`, 4 GiB", slow["ours"], slow["hook"], 0.02, name="preexec_fn"),
    ]
    if "ours_user" in slow:
        rows.append(compare("with `user=`, 4 GiB", slow["ours_user"], slow["theirs_user"], name=name))
    return rows


if __name__ == "__main__":
    main(measure, worker)

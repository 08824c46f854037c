"""A parent with 1,000 fork children is SIGKILLed: how long until the last of them is gone?

The measuring process holds a pidfd of each, in an epoll, and adopts them. One comparison is with bare os.fork and
PDEATHSIG. The second is with multiprocessing.Process and PDEATHSIG, whose children inherit fds of their elder siblings
too: it shows what orphanguard adds.
"""

import os
import signal
import statistics
import sys

from ..common.worker import allow_many_fds, await_ready, serve, sleep_for_ever
from .subject import fork_context, grow, main

CHILDREN = 1000


def worker(role):
    live = []
    context = fork_context(role)

    def fork(ready):
        pid = os.fork()
        if pid == 0:
            sleep_for_ever(ready, arm=True)
        return pid

    def process(ready):
        grow(live, len(live) + 1, context, sleep_for_ever, ready=ready, arm=role != "ours")
        return live[-1].pid

    def children(count):
        """Starts that many children, waits until all are armed, and returns their pids."""
        reader, writer = os.pipe()
        pids = [fork(writer) if role == "bare" else process(writer) for _ in range(count)]
        os.close(writer)
        await_ready(reader, count)
        os.close(reader)
        return pids

    serve(children=children)


def reap(pidfd):
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)


def one_round(role, counts):
    """Nanoseconds from the kill to the last process's end, and to the parent's own."""
    from ..common.workers import workers
    from .measure import deaths_after

    pidfds = []
    with workers("ratios.death", role) as (parent,):
        try:
            first = parent.ask("children", 1)
            fds, threads = parent.fds(), parent.threads()
            pids = first + parent.ask("children", CHILDREN - 1)
            counts[role] = (parent.fds() - fds) / (CHILDREN - 1), max(threads, parent.threads())
            pidfds += map(os.pidfd_open, pids)
            ends = deaths_after(parent.kill, [parent.pidfd, *pidfds])
        finally:
            for pidfd in pidfds:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                reap(pidfd)
    return [(max(ends.values()), ends[parent.pidfd])]


def measure(rounds):
    from .measure import Row, compare, interleaved, microseconds

    allow_many_fds()
    counts = {}
    roles = "ours", "bare", "multiprocessing"
    took = interleaved(rounds(16), **{role: lambda role=role: one_round(role, counts) for role in roles})
    last = {role: [both[0] for both in pairs] for role, pairs in took.items()}
    parents = {role: statistics.median(both[1] for both in pairs) for role, pairs in took.items()}
    print("parent's own end:", {role: microseconds(end) for role, end in parents.items()}, file=sys.stderr)
    return [
        compare(
            f"SIGKILL of the parent to the end of the last of {CHILDREN:,} children",
            last["ours"],
            last["bare"],
            1.2,
            name="os.fork + PDEATHSIG",
        ),
        compare(
            "the same, to multiprocessing + PDEATHSIG", last["ours"], last["multiprocessing"], name="multiprocessing"
        ),
        Row("fds in the parent for each child", round(counts["ours"][0], 3), 1.1),
        Row(f"threads in the parent with {CHILDREN:,} children", counts["ours"][1], 1),
    ]


if __name__ == "__main__":
    main(measure, worker)

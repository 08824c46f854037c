"""A parent with 1,000 fork children is SIGKILLed: how long until the last of them is gone?

The measuring process holds a pidfd of each, in an epoll, and adopts them. Compared with bare
os.fork + PR_SET_PDEATHSIG, and with the same over multiprocessing.Process, which tells apart what is
orphanguard's and what comes of the fds that every child of multiprocessing inherits from its elder siblings'.
"""

import os
import select
import signal
import statistics
import sys
import time
from multiprocessing import get_context

from ._worker import await_ready, main, serve, sleep_for_ever

CHILDREN = 1000
GIVE_UP = 30  # seconds


def worker(role):
    live = []
    if role == "ours":
        import orphanguard

        context = orphanguard.get_context("fork")
    else:
        context = get_context("fork")

    def fork(ready):
        pid = os.fork()
        if pid == 0:
            sleep_for_ever(ready, arm=True)
        return pid

    def process(ready):
        live.append(context.Process(target=sleep_for_ever, args=(ready,), kwargs={"arm": role != "ours"}))
        live[-1].start()
        return live[-1].pid

    def children(count):
        """The pids of that many new ones, all of them armed."""
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


def kill_and_time(parent, pidfds):
    """Nanoseconds from the kill to the last child's end, and to the parent's own."""
    with select.epoll() as epoll:
        for pidfd in (parent.pidfd, *pidfds):
            epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        left = {parent.pidfd, *pidfds}
        parents_end = 0
        before = time.perf_counter_ns()
        parent.kill()
        while left:
            events = epoll.poll(GIVE_UP, 64)
            if not events:
                raise RuntimeError(f"{len(left)} processes outlived their parent by {GIVE_UP} s")
            if not parents_end and any(fd == parent.pidfd for fd, _ in events):
                parents_end = time.perf_counter_ns() - before
            left.difference_update(fd for fd, _ in events)
        return time.perf_counter_ns() - before, parents_end


def one_round(role, counts):
    from . import _measure

    pidfds = []
    with _measure.workers("death", role) as (parent,):
        try:
            first = parent.ask("children", 1)
            fds, threads = parent.fds(), parent.threads()
            pids = first + parent.ask("children", CHILDREN - 1)
            counts[role] = (parent.fds() - fds) / (CHILDREN - 1), max(threads, parent.threads())
            pidfds += map(os.pidfd_open, pids)
            took = kill_and_time(parent, pidfds)
        finally:
            for pidfd in pidfds:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                reap(pidfd)
    return [took]


def measure(rounds):
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit

    from . import _measure

    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    counts = {}
    roles = "ours", "bare", "multiprocessing"
    took = _measure.interleaved(rounds(16), **{role: lambda role=role: one_round(role, counts) for role in roles})
    last = {role: [both[0] for both in pairs] for role, pairs in took.items()}
    parents = {role: statistics.median(both[1] for both in pairs) for role, pairs in took.items()}
    print("parent's own end:", {role: _measure.microseconds(end) for role, end in parents.items()}, file=sys.stderr)
    return [
        _measure.compare(
            f"SIGKILL of the parent to the end of the last of {CHILDREN:,} children",
            last["ours"],
            last["bare"],
            1.2,
            name="os.fork + PDEATHSIG",
        ),
        _measure.compare(
            "the same, to multiprocessing + PDEATHSIG", last["ours"], last["multiprocessing"], name="multiprocessing"
        ),
        _measure.Row("fds in the parent for each child", round(counts["ours"][0], 3), 1.1),
        _measure.Row(f"threads in the parent with {CHILDREN:,} children", counts["ours"][1], 1),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2])
    main(measure)

"""What is compared, and the process that does it: ``python -m benchmarks.costs.roles worker ROLE:GIB``."""

import contextlib
import importlib.util
import os
import random
import signal
import sys
from dataclasses import dataclass
from time import perf_counter as now

from ..common.worker import arm_pdeathsig, ballast, nothing, serve, sleep_for_ever, until_readable

PROGRAM = ["/bin/sleep", "1000"]
TRUE = ["/bin/true"]
COUNTS = 1, 10, 100, 1000, 5000  # children
SIZES = 0, 1, 4, 8  # GiB of the parent
IDLE_AT = 1000  # children


@dataclass(frozen=True)
class Role:
    title: str
    module: str = ""  #: what the role needs
    most: int = 5000  #: children: an interpreter for each child is megabytes


ROLES = {
    "ours": Role("`orphanguard.Process`, fork"),
    "standard": Role("`multiprocessing.Process`, fork"),
    "billiard": Role("`billiard.Process`, fork", "billiard"),
    "os.fork": Role("`os.fork`, PDEATHSIG by ctypes"),
    "ours spawn": Role("`orphanguard.Process`, spawn", most=100),
    "standard spawn": Role("`multiprocessing.Process`, spawn", most=100),
    "ours forkserver": Role("`orphanguard.Process`, forkserver", most=100),
    "standard forkserver": Role("`multiprocessing.Process`, forkserver", most=100),
    "our Popen": Role("`orphanguard.Popen`"),
    "our tree": Role("`orphanguard.Popen(tree=True)`", most=1000),  # four fds each, and two processes
    "subprocess": Role("`subprocess.Popen`"),
    "preexec_fn": Role("`subprocess.Popen`, `preexec_fn`"),
    "processkit": Role("processkit-py, its death flag", "processkit"),
    "running-process": Role("running-process, contained", "running_process", most=1000),  # 0.2 s a start at 5,000
}
#: The same in C; see floor.c.
FLOORS = {"fork": "C: `fork`, `prctl`, `waitpid`", "vfork": "C: `vfork`, `prctl`, `execve`, `waitpid`"}
OURS = tuple(name for name in ROLES if name.startswith("our"))


def installed():
    return [name for name, role in ROLES.items() if not role.module or importlib.util.find_spec(role.module)]


def of_fork():
    def stay():
        pid = os.fork()
        if pid == 0:
            sleep_for_ever(arm=True)
        return pid

    def join():
        pid = os.fork()
        if pid == 0:
            arm_pdeathsig()
            os._exit(0)
        os.waitpid(pid, 0)

    return stay, join


def of_popen(popen, **keywords):
    return lambda: popen(PROGRAM, **keywords), lambda: popen(TRUE, **keywords).wait()


def of_processkit():
    from processkit import Command

    def start(command):
        return Command(command[0], command[1:]).kill_on_parent_death().start()

    return lambda: start(PROGRAM), lambda: start(TRUE).outcome()


def of_running_process():
    from running_process import ContainedProcessGroup

    group = ContainedProcessGroup()

    def join():
        pid = group.spawn(TRUE)
        with contextlib.suppress(ChildProcessError):  # a thread of the library may reap it first
            os.waitpid(pid, 0)

    return lambda: group.spawn(PROGRAM), join


def of_context(context, guarded):
    def stay():
        process = context.Process(target=sleep_for_ever, kwargs={"arm": not guarded})
        process.start()
        return process

    def join():
        process = context.Process(target=nothing)
        process.start()
        process.join()

    return stay, join


def starters(role):
    """Two functions: one starts a child that stays, one starts a child that does nothing and joins it."""
    who, _, method = role.partition(" ")
    match who:
        case "os.fork":
            return of_fork()
        case "processkit":
            return of_processkit()
        case "running-process":
            return of_running_process()
        case "our":
            import orphanguard

            return of_popen(orphanguard.Popen, tree=method == "tree")
        case "subprocess" | "preexec_fn":
            import subprocess

            return of_popen(subprocess.Popen, preexec_fn=arm_pdeathsig if who == "preexec_fn" else None)
        case "ours":
            import orphanguard as module
        case "billiard":
            import billiard as module
        case _:
            import multiprocessing as module
    return of_context(module.get_context(method or "fork"), who == "ours")


def waiting(role):
    """The function that waits for the next of many, and what it is given; None where the role has none."""
    if role.startswith("ours"):
        from orphanguard import wait

        return wait, set
    if role.startswith(("standard", "billiard")):
        if role == "billiard":
            from billiard.connection import wait
        else:
            from multiprocessing.connection import wait
        return wait, lambda live: [process.sentinel for process in live]
    return None


def until_dead(pid):
    """By pidfd, since a fork server's child is not ours to wait for. Nobody reaps it meanwhile."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    until_readable(pidfd)
    os.close(pidfd)


def worker(role, gib):
    memory = ballast(gib)  # noqa: F841
    stay, join = starters(role)
    wait, handles_of = waiting(role) or (None, None)
    live = []

    def grow(count):
        times = []
        while len(live) < count:
            before = now()
            live.append(stay())
            times.append(now() - before)
        return times

    def joins(count):
        times = []
        for _ in range(count):
            before = now()
            join()
            times.append(now() - before)
        return times

    def waits(count):
        """The times of waits for the next of all, when one has finished."""
        times = []
        for _ in range(count if wait else 0):
            victim = random.choice(live)
            handles = handles_of(live)
            until_dead(victim.pid)
            before = now()
            wait(handles)
            times.append(now() - before)
            live.remove(victim)
            victim.join()
            live.append(stay())
        return times

    def pids():
        return [each if isinstance(each, int) else each.pid for each in live]

    serve(grow=grow, joins=joins, waits=waits, pids=pids)


if __name__ == "__main__":
    name, _, gib = sys.argv[2].rpartition(":")
    worker(name, int(gib))

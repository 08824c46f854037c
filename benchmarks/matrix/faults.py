"""How the parent ends. A fault ends the parent, or first the process between it and its children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.processes import descendants
from .trial import Failed, Trial, Watched

OOM = 20.0  # seconds that the OOM killer has
HELD = 10.0  # seconds
ARMED = 0.05  # seconds in which the kernel kills a stopped child that is armed
SETTLE = 0.3  # seconds in which children die whose supervisor or fork server was killed
MEMORY = 48 << 20  # bytes; the parent has to fill them


@dataclass(frozen=True)
class Fault:
    title: str
    act: Callable[[Trial], None]
    options: tuple[str, ...] = ()  #: arguments of parent.py
    needs: str = ""  #: what the strategy must have: ``helper`` or ``fork_server``
    host: Callable[[], str] = lambda: ""  #: why this host cannot do it; empty if it can


def by_order(order: str) -> Callable[[Trial], None]:
    return lambda trial: trial.order(order)


def by_signal(signum: signal.Signals) -> Callable[[Trial], None]:
    return lambda trial: trial.parent.send(signum)


def stopped_then_killed(trial: Trial) -> None:
    trial.stop_parent()
    trial.parent.send(signal.SIGKILL)


def while_a_child_starts(trial: Trial) -> None:
    """The parent starts one more child, which is stopped as soon as it is seen. The parent is killed; then the child
    goes on, and arms itself if it was not armed yet."""
    known = set(descendants(trial.parent.pid))
    trial.order("start")
    deadline = time.monotonic() + HELD
    held: Watched | None = None
    while held is None:
        for pid in descendants(trial.parent.pid):
            if pid not in known:
                held = trial.join(pid, "held")
                break
        if time.monotonic() > deadline:
            raise Failed("no child to hold was seen")
    held.send(signal.SIGSTOP)
    trial.parent.send(signal.SIGKILL)
    trial.watch_deaths([trial.parent], HELD)
    trial.watch_deaths([held], ARMED)
    trial.unarmed = held.died is None
    held.send(signal.SIGCONT)


def helper(trial: Trial) -> Watched:
    return trial.find(trial.helper)


def fork_server(trial: Trial) -> Watched:
    return trial.find("forkserver")  # the first one found; its children have the same command line


def killed_before(who: Callable[[Trial], Watched]) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        who(trial).send(signal.SIGKILL)
        trial.watch_deaths(trial.members, SETTLE)
        trial.parent.send(signal.SIGKILL)

    return act


def helper_and_parent_killed(trial: Trial) -> None:
    found = helper(trial)
    found.send(signal.SIGKILL)
    trial.parent.send(signal.SIGKILL)


def memory_cgroup() -> Path | None:
    """A directory in which a cgroup with a memory limit can be made: v1's hierarchy, or v2 with the controller."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        directory = Path(fields[4])
        usable = (kind == "cgroup" and "memory" in options) or (
            kind == "cgroup2" and "memory" in (directory / "cgroup.subtree_control").read_text().split()
        )
        if usable and os.access(directory, os.W_OK):
            return directory
    return None


def oom_killed(trial: Trial) -> None:
    """Only the parent is in the cgroup, so the OOM killer takes the parent."""
    where = memory_cgroup()
    assert where is not None
    directory = where / trial.token
    directory.mkdir()
    try:
        limit = "memory.limit_in_bytes" if (directory / "memory.limit_in_bytes").exists() else "memory.max"
        (directory / limit).write_text(str(MEMORY))
        (directory / "cgroup.procs").write_text(str(trial.parent.pid))
        trial.order("eat")
        trial.watch_deaths([trial.parent], OOM)
        end = os.waitid(os.P_PIDFD, trial.parent.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None or end.si_status != signal.SIGKILL:
            raise Failed("the OOM killer did not come")
    finally:
        # The cgroup is empty only when the parent is reaped: the end of the trial removes it.
        trial.cgroups.append(directory)


FAULTS = {
    "return": Fault("returns", by_order("return")),
    "raise": Fault("raises", by_order("raise")),
    "sys.exit": Fault("`sys.exit`", by_order("sys.exit")),
    "_exit": Fault("`os._exit`", by_order("_exit")),
    "term": Fault("SIGTERM", by_signal(signal.SIGTERM)),
    "int": Fault("SIGINT", by_signal(signal.SIGINT)),
    "hup": Fault("SIGHUP", by_signal(signal.SIGHUP)),
    "kill": Fault("SIGKILL", by_signal(signal.SIGKILL)),
    "segv": Fault("SIGSEGV", by_order("crash")),
    "oom": Fault(
        "OOM killer", oom_killed, host=lambda: "" if memory_cgroup() else "no memory cgroup that we may write to"
    ),
    "starting": Fault("SIGKILL, a child not yet armed", while_a_child_starts),
    "stop-kill": Fault("stopped, then SIGKILL", stopped_then_killed),
    "gib": Fault("SIGKILL, 1 GiB, busy threads", by_signal(signal.SIGKILL), options=("gib",)),
    "forkserver": Fault("fork server, then parent", killed_before(fork_server), needs="fork_server"),
    "supervisor": Fault("supervisor, then parent", killed_before(helper), needs="helper"),
    "both": Fault("supervisor with parent", helper_and_parent_killed, needs="helper"),
}

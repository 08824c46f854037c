"""What must end no child: something happens, the parent lives on, and so must the children.

Afterwards the parent gets SIGKILL. A child that is no longer guarded after what happened outlives the parent, and is
counted as a survivor.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.processes import command_of, state_of
from .trial import READY, Failed, Trial, Watched, wait_for

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
TRIES = 50


@dataclass(frozen=True)
class Early:
    title: str
    act: Callable[[Trial], None]
    options: tuple[str, ...] = ("stay",)
    kind: str = "idle"
    root: bool = False


def thread_ends(trial: Trial) -> None:
    (said,) = (text for text in trial.said if text.startswith("thread "))
    trial.order("thread")
    task = f"/proc/{said.split()[1]}"  # /proc does not list threads, but has them; CaoE's is another process's
    wait_for(lambda: not os.path.exists(task), READY, "the thread did not end")


def executes(trial: Trial) -> None:
    before = command_of(trial.parent.pid)
    trial.order("exec")
    wait_for(lambda: command_of(trial.parent.pid) != before, READY, "the parent did not execute another program")


def ordered(order: str) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.order(order)
        trial.hear("done")

    return act


def sibling_dies(trial: Trial) -> None:
    victim = trial.members.pop(0)
    victim.send(signal.SIGKILL)
    trial.watch_deaths([victim], READY)


def pids_wrap(trial: Trial) -> None:
    """A child ends and is reaped, and a stranger gets its pid. Nothing may take the stranger for the child."""
    victim = trial.members.pop(0)
    pid = victim.pid
    victim.send(signal.SIGKILL)
    wait_for(lambda: state_of(pid) == "", READY, "the child was not reaped")
    for _ in range(TRIES):
        LAST_PID.write_text(str(pid - 1))
        stranger = os.posix_spawn("/bin/sleep", ["sleep", "90"], os.environ)
        if stranger == pid:
            trial.stranger = trial.watch(Watched(pid, "stranger"))
            ordered("kill the dead")(trial)
            trial.parent.send(
                signal.SIGTERM
            )  # a parent that ends its children as it ends, by a handler or in good order, does so now
            return
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
        time.sleep(0.001)
    raise Failed("nobody got that pid")


EARLY = {
    "thread": Early("starting thread ends", thread_ends, options=("thread", "stay")),
    "parent-stopped": Early("parent is stopped", Trial.stop_parent),
    "exec": Early("parent executes another program", executes),
    "close": Early("parent closes its fds", ordered("close")),
    "uid": Early("parent drops its uid", ordered("uid"), root=True),
    "sibling": Early("a sibling dies", sibling_dies, kind="siblings"),
    "pids": Early("a dead sibling's pid is a stranger's", pids_wrap, kind="siblings", root=True),
}

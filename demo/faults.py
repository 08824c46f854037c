"""One program, one fault, and what became of the children."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.common.processes import doomed

from .family import Watched, start_in_session, wait_for_deaths
from .rows import Failure, Fault, Outcome, Row

PROGRAMS = Path(__file__).parent / "programs"
READY = 15.0  # seconds that a program has until its children are up
PATIENCE = 3.0  # seconds that the target of a fault has to end; a handler may keep it from ending
WATCH = 1.0  # seconds after that, in which the fate of all is seen
DOOMED = 10.0  # seconds more for processes that are killed already but have no processor to die on

Say = Callable[[str], None]


class ProgramFailed(Exception):
    pass


@dataclass
class Family:
    parent: Watched
    children: list[Watched]
    thread: int  #: the starting thread, if it is to end
    orders: BinaryIO  #: the parent's stdin

    def thread_ended(self) -> bool:
        return not os.path.exists(f"/proc/{self.parent.pid}/task/{self.thread}")


def perform(row: Row, fault: Fault, say: Say, stop: threading.Event) -> Outcome | Failure:
    """Starts the program, does ``fault`` to it, and watches. ``say`` gets what happens, in at most 55 characters."""
    say("starting")
    try:
        with started(row, fault, stop) as family:
            return {
                Fault.TERM_PARENT: lambda: end_parent(family, signal.SIGTERM, say),
                Fault.KILL_PARENT: lambda: end_parent(family, signal.SIGKILL, say),
                Fault.TERM_CHILD: lambda: end_child(family, say),
                Fault.THREAD_ENDS: lambda: end_thread(family, say),
            }[fault]()
    except (ProgramFailed, OSError) as error:
        return Failure(str(error))


def end_parent(family: Family, signum: signal.Signals, say: Say) -> Outcome:
    say(f"{signum.name} to {family.parent.pid}; children {_pids(family.children)}")
    begun = time.monotonic()
    family.parent.send(signum)
    wait_for_deaths([family.parent], PATIENCE)
    return observe(family, family.children, begun, lambda: not family.parent.alive)


def end_child(family: Family, say: Say) -> Outcome:
    hit, *others = family.children
    say(f"SIGTERM to {hit.pid}; siblings {_pids(others)}")
    begun = time.monotonic()
    hit.send(signal.SIGTERM)
    wait_for_deaths([hit], PATIENCE)
    return observe(family, others, begun, lambda: not hit.alive)


def end_thread(family: Family, say: Say) -> Outcome:
    say(f"thread {family.thread} ends; children {_pids(family.children)}")
    begun = time.monotonic()
    family.orders.write(b"\n")
    while not family.thread_ended() and time.monotonic() < begun + PATIENCE:
        time.sleep(0.002)
    return observe(family, family.children, begun, family.thread_ended)


def observe(family: Family, children: list[Watched], begun: float, hit_ended: Callable[[], bool]) -> Outcome:
    watched = [family.parent, *children]
    left, last = wait_for_deaths(watched, WATCH)
    if dying := [process for process in left if doomed(process.pid)]:
        _, last = wait_for_deaths(dying, DOOMED)
    return Outcome(
        children=len(children),
        left=sum(child.alive for child in children),
        hit_ended=hit_ended(),
        parent_lives=family.parent.alive,
        parent_killed=family.parent.killed,
        after=(last or begun) - begun,
    )


@contextlib.contextmanager
def started(row: Row, fault: Fault, stop: threading.Event) -> Iterator[Family]:
    file, *arguments = row.program.split()
    command = [sys.executable, str(PROGRAMS / file), *arguments]
    if fault is Fault.THREAD_ENDS:
        command.append("--in-thread")
    with contextlib.ExitStack() as cleanup, tempfile.TemporaryFile() as errors:
        stdin, orders = _pipe(cleanup)
        answers, stdout = _pipe(cleanup)
        if stop.is_set():
            raise ProgramFailed("the demo was interrupted")
        parent = Watched(start_in_session(command, stdin.fileno(), stdout.fileno(), errors.fileno()))
        cleanup.callback(parent.close)
        cleanup.callback(parent.send, signal.SIGKILL)
        stdout.close()  # so that the pipe hangs up if the program ends
        thread, pids = _read_ready(answers, errors)
        children = []
        for pid in pids:
            child = Watched(pid)
            cleanup.callback(child.close)
            cleanup.callback(child.send, signal.SIGKILL)
            children.append(child)
        yield Family(parent, children, thread, orders)


def _pipe(cleanup: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    r, w = os.pipe()
    return cleanup.enter_context(open(r, "rb", 0)), cleanup.enter_context(open(w, "wb", 0))


def _read_ready(answers: BinaryIO, errors: BinaryIO) -> tuple[int, list[int]]:
    """The starting thread (0: the main thread) and the children, which the program says when all are up."""
    poller = select.poll()
    poller.register(answers, select.POLLIN)
    deadline = time.monotonic() + READY
    said = b""
    while b"ready" not in said or not said.endswith(b"\n"):
        if not poller.poll(max(0, deadline - time.monotonic()) * 1000):
            raise ProgramFailed(f"its children were not up after {READY:.0f} s: {_last_line(errors)}")
        chunk = answers.read(4096)
        if not chunk:
            raise ProgramFailed(f"it ended before its children were up: {_last_line(errors)}")
        said += chunk
    words = dict(line.split(maxsplit=1) for line in said.decode().splitlines())
    return int(words.get("thread", 0)), [int(pid) for pid in words["ready"].split()]


def _last_line(errors: BinaryIO) -> str:
    # Not seek(): the program writes at the same offset.
    lines = os.pread(errors.fileno(), 100_000, 0).decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "nothing on stderr")


def _pids(processes: list[Watched]) -> str:
    return " ".join(str(process.pid) for process in processes)

"""Witnesses: start a parent for real, kill it for real, and see by pidfd who is left.

A pidfd becomes readable when its process is dead, even if it is a zombie (PID 1 may reap late). Nothing here trusts a
pid that has been turned into a pidfd, and nothing kills but by pidfd.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.support.proc import DEATH

ROOT = Path(__file__).parents[2]
ACTORS = ROOT / "tests" / "actors"
#: The first lines of a program in a string that uses what actors share: it finds tests.support and the actors.
ACTOR = f"""
import os, signal, sys, threading, time
sys.path[:0] = [{str(ROOT)!r}, {str(ACTORS)!r}]
from tests.support.actor import *
"""
METHODS = ("fork", "spawn", "forkserver")
THREADS = ("main", "ended", "running")


class Watched:
    """Processes under observation, by pidfd."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.fds = {pid: os.pidfd_open(pid) for pid in pids}

    def alive(self, within: float) -> list[int]:
        """The pids that are still alive after ``within`` seconds; returns at once when none is."""
        poller = select.poll()
        waiting = dict(self.fds)
        for fd in waiting.values():
            poller.register(fd, select.POLLIN)
        deadline = time.monotonic() + within
        while waiting and (left := deadline - time.monotonic()) > 0:
            ready = {fd for fd, _ in poller.poll(left * 1000)}
            for pid, fd in list(waiting.items()):
                if fd in ready:
                    poller.unregister(fd)
                    del waiting[pid]
        return sorted(waiting)

    def kill(self) -> None:
        for fd in self.fds.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)

    def close(self, kill: bool = True) -> None:
        if kill:
            self.kill()
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


class Parent:
    """An actor of tests/actors, running. It obeys Python statements, one a line, on its stdin."""

    def __init__(self, *args: str, wrapper: tuple[str, ...] = (), python: str = sys.executable, **options: Any) -> None:
        self.process = subprocess.Popen(
            [*wrapper, python, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.watched: list[Watched] = []

    def read(self) -> Any:
        """The next JSON line that the actor prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the actor ended without an answer, status {self.process.wait()}")
        return json.loads(line)

    def tell(self, statement: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()

    def ask(self, statement: str) -> Any:
        self.tell(statement)
        return self.read()

    def watch(self, pids: Iterable[int]) -> Watched:
        watched = Watched(pids)
        self.watched.append(watched)
        return watched

    def kill(self, sig: int = signal.SIGKILL) -> None:
        self.process.send_signal(sig)

    def ended(self) -> int:
        return self.process.wait(timeout=DEATH)

    def close(self) -> None:
        for watched in self.watched:
            watched.close()
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()


@contextlib.contextmanager
def parent(actor: str, *args: str, **options: Any) -> Iterator[Parent]:
    """Runs tests/actors/ACTOR.py with ``args``. In the end it is killed, and so is all that was watched."""
    running = Parent(str(ACTORS / f"{actor}.py"), *args, **options)
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def family(
    method: str,
    thread: str = "main",
    *,
    guarded: bool = True,
    count: int = 2,
    child: str = "idle",
    extra: tuple[str, ...] = (),
    **options: Any,
) -> Iterator[tuple[Parent, Watched]]:
    """A parent with ``count`` children that have said that they are up."""
    with parent(
        "family",
        method,
        thread,
        "guarded" if guarded else "plain",
        str(count),
        child,
        *extra,
        **options,
    ) as running:
        yield running, running.watch(running.read()["children"])


class Token:
    """Marks a process and all its descendants by an environment variable, to find those whose pids are unknown.

    The resource tracker is not counted: it must outlive its parent, to clean up after it.
    """

    NAME = "ORPHANGUARD_TEST_TOKEN"

    def __init__(self) -> None:
        self.value = f"{os.getpid()}-{time.monotonic_ns()}"
        self.environment = {**os.environ, self.NAME: self.value}

    def holds(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return f"{self.NAME}={self.value}".encode() in environment.split(b"\0") and b"resource_tracker" not in command

    def holders(self) -> list[int]:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [pid for pid in pids if pid != os.getpid() and self.holds(pid)]

    def survivors(self, within: float) -> list[int]:
        deadline = time.monotonic() + within
        while (found := self.holders()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def clean_up(self) -> None:
        for pid in self.holders():
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                try:
                    if self.holds(pid):  # still that process, so the pidfd is its own
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                finally:
                    os.close(fd)


# How the parent ends: by a signal from outside, or by a statement that it executes.
ENDS = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV)",
    "os._exit": "os._exit(3)",
    "null pointer": "ctypes.string_at(0)",
}


def end(parent, how) -> None:
    if isinstance(how, str):
        parent.tell(how)
    else:
        parent.kill(how)
    parent.ended()


def python(program: str, *arguments: str, strict: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs ``program`` in a Python of its own, to its end. ``strict``: warnings are errors there.

    DeprecationWarnings are not: Python 3.12 and later warn of each fork in a process with threads.
    """
    warnings = ["-W", "error", "-W", "ignore::DeprecationWarning"] if strict else []
    command = [sys.executable, *warnings, "-c", program, *arguments]
    options = {"capture_output": True, "text": True, "timeout": 55, "check": False, **options}
    return subprocess.run(command, **options)  # noqa: PLW1510


@contextlib.contextmanager
def marked(*command: str, env: dict[str, str] | None = None, **options: Any) -> Iterator[tuple[Any, Token]]:
    """A process, and the token by which it and all below it are found. In the end all of them are killed."""
    token = Token()
    process = subprocess.Popen(command, env={**token.environment, **(env or {})}, **options)
    try:
        yield process, token
    finally:
        process.kill()
        process.wait()
        while token.holders():
            token.clean_up()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # it has something to flush, and nobody reads
                    stream.close()

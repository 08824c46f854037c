"""Interrupts a start at one bytecode of ours after the other, and looks each time what is left: WHAT STRIDE.

A signal handler may raise between any two bytecodes (CPython 3.10; later versions look for signals at fewer). This
program raises there itself, so that each place is hit. Prints whether there were many bytecodes, and what was left.
"""

from __future__ import annotations

import asyncio as standard_asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from orphanguard import asyncio as guarded_asyncio
from tests.support.fdtable import open_fds, settle, tethers
from tests.support.proc import children, settled

OURS = os.path.dirname(orphanguard.__file__)


PID = os.getpid()
interrupts = True


class Interrupted(Exception):
    pass


def pause() -> None:
    signal.pause()


class Process:
    def __init__(self, method: str, tree: bool) -> None:
        self.make = orphanguard.get_context(method).Process
        self.tree = tree

    def prepare(self) -> None:
        self.process = self.make(target=pause, tree=self.tree)

    def start(self) -> None:
        self.process.start()

    def end(self) -> None:
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
            self.process.close()
        del self.process


class Server(Process):
    """Each start makes a fork server."""

    def prepare(self) -> None:
        self.end_server()
        super().prepare()

    def end(self) -> None:
        super().end()
        self.end_server()

    @staticmethod
    def end_server() -> None:
        server = forkserver._forkserver
        if server._forkserver_pid is not None:
            os.kill(server._forkserver_pid, signal.SIGKILL)
            os.waitpid(server._forkserver_pid, 0)
            os.close(server._forkserver_alive_fd)
            server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None


class Program:
    def __init__(self, **how: object) -> None:
        self.how = how

    def prepare(self) -> None:
        self.program: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.program = orphanguard.Popen(["sleep", "1000"], **self.how)

    def end(self) -> None:
        # A program whose Popen was interrupted on its way to the caller is where the standard library keeps dropped
        # programs.
        gc.collect()
        for program in (self.program, *subprocess._active):
            if program is not None:
                program.kill()
                program.wait()
        subprocess._active.clear()
        self.program = None


class Hook(Program):
    def start(self) -> None:
        hook = orphanguard.PreexecFn()
        self.program = subprocess.Popen(["sleep", "1000"], preexec_fn=hook)  # noqa: PLW1509


class Asyncio(Program):
    """The start alone. asyncio decides what the loop's callbacks and coroutines do with an exception."""

    def start(self) -> None:
        global interrupts

        def start(*args: object, **kwargs: object) -> None:
            global interrupts
            interrupts = True
            try:
                Asyncio.of_transport(*args, **kwargs)
            finally:
                interrupts = False

        async def run() -> None:
            process = await guarded_asyncio.create_subprocess_exec("sleep", "1000")
            process.kill()
            await process.wait()

        interrupts = False
        guarded_asyncio._Transport._start = start
        standard_asyncio.run(run())

    of_transport = guarded_asyncio._Transport._start


WAYS = {
    "fork": lambda: Process("fork", False),
    "fork tree": lambda: Process("fork", True),
    "spawn": lambda: Process("spawn", False),
    "spawn tree": lambda: Process("spawn", True),
    "forkserver": lambda: Process("forkserver", False),
    "forkserver tree": lambda: Process("forkserver", True),
    "server": lambda: Server("forkserver", False),
    "Popen": Program,
    "Popen tree": lambda: Program(tree=True),
    "Popen preexec_fn": lambda: Program(preexec_fn=int),
    "PreexecFn": Hook,
    "asyncio": Asyncio,
}


def state() -> tuple[object, ...]:
    """Tethers may grow a little: a fork server's is full after 63 interrupted starts."""
    settle()
    mine = children()
    server = forkserver._forkserver._forkserver_pid
    # When a fork server is gone, this process does not adopt its children.
    below = children(server) if server in mine else set()
    return open_fds(), len(tethers()) > 5, mine, below, len(os.listdir("/proc/self/task"))


def interrupt_at(number: int, call: object) -> bool:
    """Calls ``call``, and raises ahead of our ``number``th bytecode. Returns whether there is such a bytecode."""
    counter = itertools.count()

    def local(frame, event, argument):
        # A bytecode without a line hands an exception on, and the interpreter looks for no signal there.
        if event == "opcode" and interrupts and frame.f_lineno and os.getpid() == PID and next(counter) == number:
            raise Interrupted
        return local

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        return local

    try:
        sys._getframe().f_trace_opcodes = True  # else 3.12 and later trace no bytecodes in other frames
        sys.settrace(trace)
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    return next(counter) > number


def main(name: str, stride: int) -> None:
    way = WAYS[name]()
    resource_tracker.ensure_running()
    for _ in range(2):  # makes what the process makes once
        way.prepare()
        way.start()
        way.end()
    gc.collect()
    gc.freeze()
    before = state()
    number, left = 0, []
    for number in itertools.count(step=stride):
        way.prepare()
        there = interrupt_at(number, way.start)
        way.end()
        gc.collect()
        after = settled(state, before, within=10)  # a fork server's child ends by itself
        if after != before:
            left.append((number, before, after))
            before = after
        if not there:
            break
    print(number > 20, left)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

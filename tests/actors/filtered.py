"""Starts a child where seccomp refuses CALL with ERRNO: METHOD main|other CALL ERRNO before|between|twice.

METHOD: a start method, with keywords or without: "fork(tree=True)"; or a program's keywords: "Popen(user=65534)".
"before": the filter comes before the start. "between": another start comes before the filter. "twice": another start
comes after the filter. Prints what the start raises and what it leaves.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
import sys
from multiprocessing import resource_tracker
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from orphanguard import subprocess
from tests.support.actor import run_in
from tests.support.proc import settled
from tests.support.starts import foreign_fork, inventory

X86_64 = platform.machine() == "x86_64"
# The call's number, the argument that must match (None: no argument need match), and its value.
CALLS = {
    "pidfd_open": (434, None, 0),
    "prctl": (157 if X86_64 else 167, 0, 1),  # PR_SET_PDEATHSIG
    "fcntl": (72 if X86_64 else 25, 1, 10),  # F_SETSIG
    "setown": (72 if X86_64 else 25, 1, 8),  # F_SETOWN
    "clone": (56 if X86_64 else 220, None, 0),
    "clone3": (435, None, 0),
    "close_range": (436, None, 0),
    "socketpair": (53 if X86_64 else 199, None, 0),
    "sendmsg": (46 if X86_64 else 211, None, 0),
    "recvmsg": (47 if X86_64 else 212, None, 0),
    "setsockopt": (54 if X86_64 else 208, None, 0),
}


def refuse(call: str, error: int) -> None:
    number, argument, value = CALLS[call]

    def instruction(code: int, jt: int, jf: int, k: int) -> bytes:
        return struct.pack("HBBI", code, jt, jf, k)

    load, equal, ret = 0x20, 0x15, 0x06
    program = [instruction(load, 0, 0, 0)]
    if argument is None:
        program.append(instruction(equal, 0, 1, number))
    else:
        program += [
            instruction(equal, 0, 3, number),
            instruction(load, 0, 0, 16 + 8 * argument),
            instruction(equal, 0, 1, value),
        ]
    program += [instruction(ret, 0, 0, 0x00050000 | error), instruction(ret, 0, 0, 0x7FFF0000)]
    if call == "clone":
        refuse("clone3", error)
    code = ctypes.create_string_buffer(b"".join(program))
    fprog = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, fprog, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def ran() -> None:
    print("the child ran", flush=True)


class Program:
    """A Popen with the methods of a Process."""

    def __init__(self, how: str, target: object) -> None:
        self.keywords = eval(f"dict{how.removeprefix('Popen')}")
        self.text = "the child ran" if target is ran else ""

    def start(self) -> None:
        self.process = subprocess.Popen(["echo", self.text], **self.keywords)

    def join(self) -> None:
        self.exitcode = self.process.wait()

    def close(self) -> None:
        pass


def main() -> None:
    method, thread, call, error, when = sys.argv[1:]
    program = method.startswith("Popen")
    name, _, keywords = method.partition("(")
    make = functools.partial(Program, method)
    if not program:
        make = functools.partial(orphanguard.get_context(name).Process, **eval(f"dict({keywords or ')'}"))

    def run() -> None:
        resource_tracker.ensure_running()
        if when == "twice":
            refuse(call, getattr(errno, error))
        else:
            foreign_fork()
        if when != "before":
            first = make(target=os.getpid)
            first.start()
            first.join()
            first.close()
        if when != "twice":
            refuse(call, getattr(errno, error))
        process = make(target=ran)
        before, started = inventory(), False
        try:
            process.start()
        except orphanguard.GuardUnavailable as caught:
            print(f"GuardUnavailable {errno.errorcode[caught.errno]} {caught}")
        except OSError as caught:
            print(f"{type(caught).__name__} {caught}")
        else:
            started = True
            process.join()
            print("started, exit code", process.exitcode)
            process.close()
        # A first start leaves what the process makes once, and any start by a fork server leaves the server.
        makes_more = when == "before" and (started or method.startswith("forkserver"))
        after = settled(inventory, before, within=0 if makes_more else 5)
        process = None
        print("nothing left" if after == before else f"left: {before} -> {after}")

    run_in(thread, run)


if __name__ == "__main__":
    main()

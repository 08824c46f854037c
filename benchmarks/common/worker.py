"""A process that is measured: it does what the coordinator asks over its stdin and stdout, one JSON line each.

Imports as little as it can. Every module makes a process larger and so its forks slower, which would flatter
the ratio of whatever comes on top of the fork.
"""

import json
import os
import select
import signal
import sys
from ctypes import CDLL
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

GIB = 1 << 30
PR_SET_PDEATHSIG = 1
prctl = CDLL(None, use_errno=True).prctl  # the yardstick must not be orphanguard's own


def arm_pdeathsig():
    if prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) < 0:
        raise OSError("prctl(PR_SET_PDEATHSIG)")


def allow_many_fds():
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)


def serve(**commands):
    """Answers the coordinator until it closes our stdin. Dies with it: no benchmark leaves anything behind."""
    arm_pdeathsig()
    allow_many_fds()
    requests = os.fdopen(os.dup(0), "rb", buffering=0)  # multiprocessing's children close sys.stdin
    try:
        for line in requests:
            name, *arguments = json.loads(line)
            os.write(1, json.dumps(commands[name](*arguments)).encode() + b"\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    # Not through the interpreter's exit, which would join thousands of sleeping children.
    os._exit(0)


def ballast(gib):
    """So much memory, every page of it touched."""
    memory = bytearray(gib * GIB)
    page = os.sysconf("SC_PAGE_SIZE")
    memory[::page] = b"x" * len(range(0, len(memory), page))
    return memory


def until_readable(pidfd):
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll()


def nothing():
    """What a child does that is started to be joined."""


def sleep_for_ever(ready=None, *, arm=False):
    """What a live child does. ``arm``: the child arms itself, since nothing else guards it."""
    if arm:
        arm_pdeathsig()
    if ready is not None:
        os.write(ready, b".")
    while True:
        signal.pause()


def await_ready(ready, count):
    while count:
        count -= len(os.read(ready, count))

"""A process that is measured: it does what the coordinator asks (workers.py), one JSON line each on stdin and stdout.

It imports as little as it can. Every module makes a process larger and so its forks slower, and then what comes on top
of the fork looks smaller in a ratio.
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
    """Answers the coordinator until it closes our stdin. Dies with it, so that no benchmark leaves anything behind."""
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
    # The interpreter's exit would join thousands of sleeping children.
    os._exit(0)


def ballast(gib):
    """Takes so much memory, and touches every page of it."""
    memory = bytearray(gib * GIB)
    page = os.sysconf("SC_PAGE_SIZE")
    memory[::page] = b"x" * len(range(0, len(memory), page))
    return memory


def until_readable(pidfd):
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll()


def nothing():
    """What a child does if it is to end at once."""


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

"""PDEATHSIG as the first thing in a multiprocessing target. With forkserver the kernel's parent is the server."""

import ctypes
import multiprocessing
import signal

from ._start import processes

PR_SET_PDEATHSIG = 1


def tied(target):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    target()


def start(count, child, method):
    return processes(multiprocessing.get_context(method), count, tied, child.target)

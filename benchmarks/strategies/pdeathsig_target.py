"""PDEATHSIG as the first thing in a multiprocessing target, method fork."""

import ctypes
import multiprocessing
import signal

from ._common import processes

TITLE = "PDEATHSIG in target, fork"
CLAIMS = "the kernel kills the child when the parent dies"
PR_SET_PDEATHSIG = 1


def tied(target):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    target()


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, tied, child.target)

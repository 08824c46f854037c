"""The folk answer: prctl(PR_SET_PDEATHSIG) by ctypes in a preexec_fn."""

import ctypes
import signal

from ._start import programs

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(count, child):
    return programs(count, child.command, preexec_fn=die_with_parent)

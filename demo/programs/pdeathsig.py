"""The folk answer: each child asks the kernel for SIGKILL when its parent dies, by prctl(PR_SET_PDEATHSIG).

The kernel's "parent" is the thread that forked, not the process.
"""

import ctypes
import multiprocessing
import signal

from stage import run, work

PR_SET_PDEATHSIG = 1


def tied_work(up):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    work(up)


if __name__ == "__main__":
    run(multiprocessing.get_context("fork"), tied_work)

"""The folk answer: each child asks the kernel for SIGKILL when its parent dies, by prctl(PR_SET_PDEATHSIG).

The kernel's "parent" is the thread that forked, not the process.
"""

import ctypes
import multiprocessing
import signal

from stage import CHILDREN, announce, begin, work

PR_SET_PDEATHSIG = 1


def tied_work(up):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    work(up)


def start():
    for process in processes:
        process.start()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    up = context.SimpleQueue()
    processes = [context.Process(target=tied_work, args=(up,)) for _ in range(CHILDREN)]
    begin(start)
    announce(up)
    for process in processes:
        process.join()

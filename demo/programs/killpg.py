"""An inherited SIGTERM handler that kills the whole process group: whoever gets SIGTERM, all of them end.

SIGKILL has no handler.
"""

import multiprocessing
import os
import signal

from stage import CHILDREN, announce, begin, work


def start():
    for process in processes:
        process.start()


def on_sigterm(signum, frame):
    os.killpg(os.getpgid(os.getpid()), signal.SIGKILL)


if __name__ == "__main__":
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # a group of our own, if a shell has not made one: never kill somebody else's
    context = multiprocessing.get_context("fork")
    up = context.SimpleQueue()
    processes = [context.Process(target=work, args=(up,)) for _ in range(CHILDREN)]
    signal.signal(signal.SIGTERM, on_sigterm)
    begin(start)
    announce(up)
    for process in processes:
        process.join()

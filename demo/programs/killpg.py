"""An inherited SIGTERM handler that kills the whole process group: SIGTERM to one of them ends all.

SIGKILL has no handler.
"""

import multiprocessing
import os
import signal

from stage import run


def on_sigterm(signum, frame):
    os.killpg(os.getpgid(os.getpid()), signal.SIGKILL)


if __name__ == "__main__":
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # a group of our own, if a shell has not made one: never kill somebody else's
    signal.signal(signal.SIGTERM, on_sigterm)
    run(multiprocessing.get_context("fork"))

"""An inherited SIGTERM handler that kills the whole process group."""

import multiprocessing
import os
import signal

from ._start import processes


def on_sigterm(signum, frame):
    os.killpg(os.getpgid(os.getpid()), signal.SIGKILL)


def prepare():
    # The runner has made the parent the leader of a group of its own, as a shell does.
    signal.signal(signal.SIGTERM, on_sigterm)


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, child.target)

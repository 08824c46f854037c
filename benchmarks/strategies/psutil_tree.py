"""psutil: on SIGTERM and at exit, kill all of children(recursive=True).

The exit handler is registered after the first start, as in atexit_terminate.py.
"""

import atexit
import multiprocessing
import os
import signal
import sys

import psutil

from ._start import processes

PARENT = os.getpid()


def kill_tree():
    if os.getpid() == PARENT:  # a forked child inherits the handler
        for process in psutil.Process().children(recursive=True):
            process.kill()


def on_sigterm(signum, frame):
    kill_tree()
    sys.exit(1)


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, child.target)


def finish():
    atexit.register(kill_tree)
    signal.signal(signal.SIGTERM, on_sigterm)

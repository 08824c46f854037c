"""psutil: on SIGTERM and at exit, kill all of children(recursive=True)."""

import atexit
import multiprocessing
import os
import signal
import sys

import psutil

from ._common import processes

TITLE = "psutil tree kill"
CLAIMS = "kills children, and theirs"
NEEDS = ["psutil"]


def kill_tree(parent):
    if os.getpid() != parent:
        return  # a forked child has inherited it
    for process in psutil.Process().children(recursive=True):
        process.kill()


def start(count, child):
    parent = os.getpid()
    atexit.register(kill_tree, parent)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))
    return processes(multiprocessing.get_context("fork"), count, child.target)

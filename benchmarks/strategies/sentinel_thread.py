"""A thread in each child waits for the sentinel of multiprocessing.parent_process()."""

import multiprocessing
import multiprocessing.connection
import os
import threading

from ._start import processes


def watch():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def watched(target):
    threading.Thread(target=watch, daemon=True).start()
    target()


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, watched, child.target)

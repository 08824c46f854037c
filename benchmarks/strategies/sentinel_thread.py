"""A thread in each child waits for the sentinel of multiprocessing.parent_process()."""

import multiprocessing
import multiprocessing.connection
import os
import threading

from ._common import processes

TITLE = "`parent_process().sentinel`"
CLAIMS = "the standard library's own: ready when the parent has ended"


def watch():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def watched(target):
    threading.Thread(target=watch, daemon=True).start()
    target()


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, watched, child.target)

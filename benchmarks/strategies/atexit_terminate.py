"""An atexit handler terminates all children.

multiprocessing.util registers a handler that joins all children, and the last registered handler runs first. So this
one is registered after the first start, which imports multiprocessing.util.
"""

import atexit
import multiprocessing

from ._start import processes

started = []


def end_children():
    for process in started:
        process.terminate()


def start(count, child):
    started.extend(processes(multiprocessing.get_context("fork"), count, child.target))
    return started[-count:]


def finish():
    atexit.register(end_children)

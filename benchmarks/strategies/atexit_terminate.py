"""An atexit handler terminates all children.

It must be registered after multiprocessing.util is imported, which the first start does: that registers a handler which
joins all children, and what was registered last runs first.
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

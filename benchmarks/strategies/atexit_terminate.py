"""An atexit handler terminates all children. Registered before multiprocessing's own would join them."""

import atexit
import multiprocessing

from ._common import processes

TITLE = "`atexit` handler"
CLAIMS = "clean-up code that “always runs”"
started = []


def end_children():
    for process in started:
        process.terminate()


def start(count, child):
    if not started:
        atexit.register(end_children)
    started.extend(processes(multiprocessing.get_context("fork"), count, child.target))
    return started[-count:]

"""An atexit handler terminates all children.

It must be registered after the first start: multiprocessing's own handler, which joins them, is registered by that,
and what was registered last runs first.
"""

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
    first = not started
    started.extend(processes(multiprocessing.get_context("fork"), count, child.target))
    if first:
        atexit.register(end_children)
    return started[-count:]

"""``Process`` of multiprocessing, or of a library with the same interface, by each start method."""

import multiprocessing

from ._start import processes


def start(count, child, method, library=multiprocessing, **keywords):
    return processes(library.get_context(method), count, child.target, **keywords)

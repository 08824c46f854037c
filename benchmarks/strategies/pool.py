"""``Pool`` of multiprocessing, or of a library with the same interface, its workers busy with a task that does not end.

(Idle workers end by themselves when the parent is gone: their task pipe hangs up.)
"""

import multiprocessing

from ._start import busy_workers


def start(count, child, library=multiprocessing):
    pool = library.get_context("fork").Pool(count)
    return busy_workers(pool, pool.apply_async, count, child.target)

"""``ProcessPoolExecutor`` of concurrent.futures or of a library with the same interface, its workers busy with a task
that does not end.
"""

import concurrent.futures
import multiprocessing

from ._start import busy_workers


def start(count, child, method=None, library=concurrent.futures):
    """Without a ``method`` the library chooses how its workers start."""
    keywords = {"mp_context": multiprocessing.get_context(method)} if method else {}
    executor = library.ProcessPoolExecutor(count, **keywords)
    return busy_workers(executor, executor.submit, count, child.target)

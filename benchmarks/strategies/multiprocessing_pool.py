"""multiprocessing.Pool, its workers busy with a task that does not end."""

import multiprocessing

TITLE = "`multiprocessing.Pool`, fork"
CLAIMS = "its workers are daemonic: they end with the parent"
pools = []


def start(count, child):
    pool = multiprocessing.get_context("fork").Pool(count)
    pools.append(pool)
    for _ in range(count):
        pool.apply_async(child.target)
    return []

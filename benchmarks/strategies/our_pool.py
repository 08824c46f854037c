"""orphanguard.Pool, its workers busy with a task that does not end."""

import orphanguard

from . import _ours

TITLE = "`orphanguard.Pool`, fork"
CLAIMS = "workers never outlive their parent process, never die early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED
pools = []


def start(count, child):
    pool = orphanguard.get_context("fork").Pool(count)
    pools.append(pool)
    for _ in range(count):
        pool.apply_async(child.target)
    return []

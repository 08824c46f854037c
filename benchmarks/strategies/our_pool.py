"""orphanguard.Pool, its workers busy with a task that does not end."""

import orphanguard

from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.Pool`, fork"
CLAIMS = "workers never outlive their parent process, never die early"
ORPHANGUARD = True
pools = []


def start(count, child):
    pool = orphanguard.get_context("fork").Pool(count)
    pools.append(pool)
    for _ in range(count):
        pool.apply_async(child.target)
    return []

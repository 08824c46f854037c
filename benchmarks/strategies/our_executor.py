"""orphanguard.ProcessPoolExecutor, its workers busy with a task that does not end."""

import multiprocessing

import orphanguard

from . import _ours

TITLE = "`orphanguard.ProcessPoolExecutor`, fork"
CLAIMS = "workers never outlive their parent process, never die early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED | {
    "early-sibling": "concurrent.futures ends all workers when one dies: BrokenProcessPool"
}
executors = []


def start(count, child):
    executor = orphanguard.ProcessPoolExecutor(count, multiprocessing.get_context("fork"))
    executors.append(executor)
    for _ in range(count):
        executor.submit(child.target)
    return []

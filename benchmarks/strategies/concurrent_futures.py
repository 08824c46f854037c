"""concurrent.futures.ProcessPoolExecutor, its workers busy with a task that does not end."""

import concurrent.futures
import multiprocessing

TITLE = "`ProcessPoolExecutor`, fork"
CLAIMS = "nothing"
executors = []


def start(count, child):
    executor = concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("fork"))
    executors.append(executor)
    for _ in range(count):
        executor.submit(child.target)
    return []

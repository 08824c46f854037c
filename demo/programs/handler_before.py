"""The same handler, installed before the children are started: so they inherit it.

Whoever gets SIGTERM passes it on to the processes that it knows of, and goes on. For a child these are the
siblings that were started before it: the list is a copy, not shared.
"""

import multiprocessing
import signal

from stage import CHILDREN, announce, begin, work


def start():
    for _ in range(CHILDREN):
        process = context.Process(target=work, args=(up,))
        process.start()
        processes.append(process)


def on_sigterm(signum, frame):
    for process in processes:
        process.terminate()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    up = context.SimpleQueue()
    processes = []
    signal.signal(signal.SIGTERM, on_sigterm)
    begin(start)
    announce(up)
    for process in processes:
        process.join()

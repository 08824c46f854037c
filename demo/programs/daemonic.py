"""daemon=True: multiprocessing terminates such children when the parent's interpreter ends in good order.

A signal is no good order.
"""

import multiprocessing

from stage import CHILDREN, announce, begin, work


def start():
    for process in processes:
        process.start()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    up = context.SimpleQueue()
    processes = [context.Process(target=work, args=(up,), daemon=True) for _ in range(CHILDREN)]
    begin(start)
    announce(up)
    for process in processes:
        process.join()

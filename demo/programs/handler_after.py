"""A SIGTERM handler, installed after the children were started, that terminates each of them."""

import multiprocessing
import signal

from stage import CHILDREN, announce, begin, work


def start():
    for process in processes:
        process.start()


def on_sigterm(signum, frame):
    for process in processes:
        process.terminate()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    up = context.SimpleQueue()
    processes = [context.Process(target=work, args=(up,)) for _ in range(CHILDREN)]
    begin(start)
    signal.signal(signal.SIGTERM, on_sigterm)
    announce(up)
    for process in processes:
        process.join()

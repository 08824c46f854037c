"""A SIGTERM handler, installed after the children were started, that terminates each of them."""

import multiprocessing
import signal

from stage import processes, run


def on_sigterm(signum, frame):
    for process in processes:
        process.terminate()


def install():
    signal.signal(signal.SIGTERM, on_sigterm)


if __name__ == "__main__":
    run(multiprocessing.get_context("fork"), when_started=install)

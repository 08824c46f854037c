"""A SIGTERM handler, installed after the children were started, that terminates each of them."""

import multiprocessing
import signal

from ._start import processes

started = []


def on_sigterm(signum, frame):
    for process in started:
        process.terminate()


def start(count, child):
    started.extend(processes(multiprocessing.get_context("fork"), count, child.target))
    return started[-count:]


def finish():
    signal.signal(signal.SIGTERM, on_sigterm)

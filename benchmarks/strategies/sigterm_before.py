"""The handler of sigterm_after.py, installed before the children start: so each inherits it, with the list so far."""

import multiprocessing
import signal

started = []


def on_sigterm(signum, frame):
    for process in started:
        process.terminate()


def prepare():
    signal.signal(signal.SIGTERM, on_sigterm)


def start(count, child):
    context = multiprocessing.get_context("fork")
    for _ in range(count):
        process = context.Process(target=child.target)
        process.start()
        started.append(process)
    return started[-count:]

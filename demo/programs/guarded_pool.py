"""orphanguard.Pool: pool.py with one import changed, and the default start method."""

import stage

from orphanguard import multiprocessing


def initialize(queue):
    global up
    up = queue


def task(_):
    stage.work(up)


def start():
    global results
    pool = context.Pool(stage.CHILDREN, initialize, (up,))
    results = [pool.apply_async(task, (number,)) for number in range(stage.CHILDREN)]


if __name__ == "__main__":
    context = multiprocessing.get_context()
    up = context.SimpleQueue()
    stage.begin(start)
    stage.announce(up)
    for result in results:
        result.wait(stage.LIFETIME)

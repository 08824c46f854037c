"""orphanguard.Process, start method spawn: plain.py with one import and the start method changed."""

from stage import CHILDREN, announce, begin, work

from orphanguard import multiprocessing


def start():
    for process in processes:
        process.start()


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    up = context.SimpleQueue()
    processes = [context.Process(target=work, args=(up,)) for _ in range(CHILDREN)]
    begin(start)
    announce(up)
    for process in processes:
        process.join()

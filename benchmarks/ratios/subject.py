"""What the files of the subjects share. The processes that are measured import it: so it imports little (worker.py)."""

import sys


def fork_context(library):
    """Only the library that is asked for is imported: importing orphanguard installs at-fork handlers."""
    if library == "ours":
        import orphanguard

        return orphanguard.get_context("fork")
    import multiprocessing

    return multiprocessing.get_context("fork")


def grow(live, count, context, target, **keywords):
    """Starts processes until so many live."""
    while len(live) < count:
        live.append(context.Process(target=target, kwargs=keywords))
        live[-1].start()


def main(measure, worker=None):
    """``python -m benchmarks.ratios.SUBJECT`` measures that subject alone; ``worker ROLE`` is a process of it."""
    if worker and sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2])
    from .measure import main

    sys.exit(main({sys.modules["__main__"].__spec__.name.rpartition(".")[2]: measure}))

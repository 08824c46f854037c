"""orphanguard.Pool: pool.py with one import changed, and the default start method."""

from stage import run_pool

from orphanguard import multiprocessing

if __name__ == "__main__":
    run_pool(multiprocessing.get_context())

"""multiprocessing.Pool, its workers busy. (Idle ones end by themselves: their task pipe has hung up.)"""

import multiprocessing

from stage import run_pool

if __name__ == "__main__":
    run_pool(multiprocessing.get_context("fork"))

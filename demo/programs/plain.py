"""Plain multiprocessing: nothing ties the children to their parent."""

import multiprocessing

from stage import run

if __name__ == "__main__":
    run(multiprocessing.get_context("fork"))

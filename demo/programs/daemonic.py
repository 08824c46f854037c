"""daemon=True: multiprocessing terminates such children when the parent's interpreter ends in good order.

A signal is no good order.
"""

import multiprocessing

from stage import run

if __name__ == "__main__":
    run(multiprocessing.get_context("fork"), daemon=True)

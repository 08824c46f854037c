"""orphanguard.Process: plain.py with one import changed. The argument is the start method; fork, if there is none."""

import sys

from stage import run

from orphanguard import multiprocessing

if __name__ == "__main__":
    run(multiprocessing.get_context((sys.argv[1:] or ["fork"])[0]))

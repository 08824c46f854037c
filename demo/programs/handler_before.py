"""The handler of handler_after.py, installed before the children are started: so they inherit it.

A process that gets SIGTERM passes it on to the processes that it knows of, and goes on. A child knows of the siblings
that were started before it: its list is a copy, not shared.
"""

import multiprocessing

from handler_after import install
from stage import run

if __name__ == "__main__":
    install()
    run(multiprocessing.get_context("fork"))

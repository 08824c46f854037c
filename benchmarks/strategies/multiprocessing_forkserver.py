"""Plain multiprocessing, method forkserver: nothing ties the children to their parent."""

import multiprocessing

from ._common import processes

TITLE = "`multiprocessing`, forkserver"
CLAIMS = "nothing"
FORK_SERVER = True


def start(count, child):
    return processes(multiprocessing.get_context("forkserver"), count, child.target)

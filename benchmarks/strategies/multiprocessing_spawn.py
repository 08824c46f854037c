"""Plain multiprocessing, method spawn: nothing ties the children to their parent."""

import multiprocessing

from ._common import processes

TITLE = "`multiprocessing`, spawn"
CLAIMS = "nothing"


def start(count, child):
    return processes(multiprocessing.get_context("spawn"), count, child.target)

"""Plain multiprocessing, method fork: nothing ties the children to their parent."""

import multiprocessing

from ._common import processes

TITLE = "`multiprocessing`, fork"
CLAIMS = "nothing"


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, child.target)

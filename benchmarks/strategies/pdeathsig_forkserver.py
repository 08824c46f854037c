"""PDEATHSIG as the first thing in a multiprocessing target, method forkserver: the kernel's parent is the server."""

import multiprocessing

from ._common import processes
from .pdeathsig_target import tied

TITLE = "PDEATHSIG in target, forkserver"
CLAIMS = "the kernel kills the child when the parent dies"
FORK_SERVER = True


def start(count, child):
    return processes(multiprocessing.get_context("forkserver"), count, tied, child.target)

"""CaoE: the program goes on as a grandchild of itself, in a group that is killed with it."""

import multiprocessing

import caoe

from ._common import processes

TITLE = "CaoE"
CLAIMS = "“kill all children spawned by the process when it dies”"
NEEDS = ["caoe"]
PACKAGE = "CaoE"
installed = []


def start(count, child):
    if not installed:
        caoe.install()  # returns in the grandchild
        installed.append(True)
    return processes(multiprocessing.get_context("fork"), count, child.target)

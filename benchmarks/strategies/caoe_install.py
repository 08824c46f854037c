"""CaoE: the program goes on as a grandchild of itself, in a group that is killed with it."""

import multiprocessing

import caoe

from ._start import processes


def prepare():
    caoe.install()  # returns in the grandchild


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, child.target)

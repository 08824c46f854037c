"""orphanguard-run around a program. It is told who its parent is, so that it notices a parent that is gone already."""

import os

from orphanguard._bin import RUN

from ._start import programs


def start(count, child, tree):
    return programs(count, [RUN, f"--tree={tree}", f"--parent-pid={os.getpid()}", "--", *child.command])

"""pyreap: an intermediate Python process for each child, which polls getppid each second."""

import reap

from ._common import programs

TITLE = "pyreap"
SLOW = 1.2
CLAIMS = "“if the parent process dies the child process will also be reaped”"
NEEDS = ["reap"]
PACKAGE = "pyreap"
HELPER = "reap/__init__.py"


def start(count, child):
    return programs(count, child.command, reap.Popen)

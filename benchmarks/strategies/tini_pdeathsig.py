"""tini as a subreaper, with its parent-death signal."""

from ._common import programs

TITLE = "`tini -s -p SIGTERM`"
CLAIMS = "forwards SIGTERM when its parent dies"
NEEDS = ["tini:"]
HELPER = "tini"
WRAPPER = ["tini", "-s", "-p", "SIGTERM", "--"]


def start(count, child):
    return programs(count, [*WRAPPER, *child.command])

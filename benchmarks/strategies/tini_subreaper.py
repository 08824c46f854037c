"""tini as a subreaper, as containers use it."""

from ._common import programs

TITLE = "`tini -s`"
CLAIMS = "reaps zombies and forwards signals"
NEEDS = ["tini:"]
HELPER = "tini"
WRAPPER = ["tini", "-s", "--"]


def start(count, child):
    return programs(count, [*WRAPPER, *child.command])

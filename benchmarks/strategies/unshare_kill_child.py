"""util-linux's unshare: a pid namespace that ends with unshare itself."""

from ._common import programs

TITLE = "`unshare --pid --kill-child`"
CLAIMS = "the child is killed when unshare is"
NEEDS = ["unshare:"]
HELPER = "unshare"
WRAPPER = ["unshare", "--pid", "--fork", "--kill-child", "--"]


def start(count, child):
    return programs(count, [*WRAPPER, *child.command])

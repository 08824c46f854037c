"""bubblewrap: a pid namespace that ends with bwrap's parent."""

from ._common import programs

TITLE = "`bwrap --die-with-parent`"
CLAIMS = "kills all of the sandbox when bwrap's parent dies"
NEEDS = ["bwrap:"]
HELPER = "bwrap"
WRAPPER = ["bwrap", "--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/", "--"]


def start(count, child):
    return programs(count, [*WRAPPER, *child.command])

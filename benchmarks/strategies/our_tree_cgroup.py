"""orphanguard.Popen(tree="cgroup")."""

import orphanguard

from ._common import programs

TITLE = "`orphanguard.Popen(tree=…)`, cgroup"
CLAIMS = "the same, and who became root"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    return programs(count, child.command, orphanguard.Popen, tree="cgroup")

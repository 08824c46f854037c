"""orphanguard.Popen(tree="pidns")."""

import orphanguard

from ._common import programs

TITLE = "`orphanguard.Popen(tree=…)`, pidns"
CLAIMS = "ends everything, the supervisor's death included"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    return programs(count, child.command, orphanguard.Popen, tree="pidns")

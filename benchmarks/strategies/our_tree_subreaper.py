"""orphanguard.Popen(tree="subreaper")."""

import orphanguard

from ._common import programs

TITLE = "`orphanguard.Popen(tree=…)`, subreaper"
CLAIMS = "ends everything below, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    return programs(count, child.command, orphanguard.Popen, tree="subreaper")

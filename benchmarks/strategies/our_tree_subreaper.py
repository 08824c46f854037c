"""orphanguard.Popen(tree="subreaper")."""

import orphanguard

from . import _ours
from ._common import programs

TITLE = "`orphanguard.Popen(tree=…)`, subreaper"
CLAIMS = "ends everything below, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return programs(count, child.command, orphanguard.Popen, tree="subreaper")

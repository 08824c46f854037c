"""orphanguard.Popen(tree="cgroup")."""

import orphanguard

from . import _ours
from ._common import programs

TITLE = "`orphanguard.Popen(tree=…)`, cgroup"
CLAIMS = "the same, and who became root"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return programs(count, child.command, orphanguard.Popen, tree="cgroup")

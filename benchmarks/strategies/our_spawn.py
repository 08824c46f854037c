"""orphanguard.Process, method spawn."""

import orphanguard

from ._common import processes
from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.Process`, spawn"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True


def start(count, child):
    return processes(orphanguard.get_context("spawn"), count, child.target)

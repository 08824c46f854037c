"""orphanguard.Process, method fork."""

import orphanguard

from ._common import processes
from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.Process`, fork"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True


def start(count, child):
    return processes(orphanguard.get_context("fork"), count, child.target)

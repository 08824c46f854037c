"""orphanguard.Process, method forkserver."""

import orphanguard

from ._common import processes
from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.Process`, forkserver"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
FORK_SERVER = True


def start(count, child):
    return processes(orphanguard.get_context("forkserver"), count, child.target)

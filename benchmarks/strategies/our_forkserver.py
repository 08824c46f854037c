"""orphanguard.Process, method forkserver."""

import orphanguard

from . import _ours
from ._common import processes

TITLE = "`orphanguard.Process`, forkserver"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED
FORK_SERVER = True


def start(count, child):
    return processes(orphanguard.get_context("forkserver"), count, child.target)

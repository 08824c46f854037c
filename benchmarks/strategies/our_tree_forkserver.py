"""orphanguard.Process(tree=True), method forkserver."""

import orphanguard

from . import _ours
from ._common import processes

TITLE = "`orphanguard.Process(tree=True)`, forkserver"
CLAIMS = "ends everything below, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR
FORK_SERVER = True


def start(count, child):
    return processes(orphanguard.get_context("forkserver"), count, child.target, tree=True)

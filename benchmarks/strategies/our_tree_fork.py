"""orphanguard.Process(tree=True), method fork."""

import orphanguard

from . import _ours
from ._common import processes

TITLE = "`orphanguard.Process(tree=True)`, fork"
CLAIMS = "ends everything below, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return processes(orphanguard.get_context("fork"), count, child.target, tree=True)

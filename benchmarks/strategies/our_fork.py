"""orphanguard.Process, method fork."""

import orphanguard

from . import _ours
from ._common import processes

TITLE = "`orphanguard.Process`, fork"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED


def start(count, child):
    return processes(orphanguard.get_context("fork"), count, child.target)

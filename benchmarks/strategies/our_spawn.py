"""orphanguard.Process, method spawn."""

import orphanguard

from . import _ours
from ._common import processes

TITLE = "`orphanguard.Process`, spawn"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED


def start(count, child):
    return processes(orphanguard.get_context("spawn"), count, child.target)

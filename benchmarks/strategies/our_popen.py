"""orphanguard.Popen: subprocess.Popen, guarded."""

import orphanguard

from . import _ours
from ._common import programs

TITLE = "`orphanguard.Popen`"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED


def start(count, child):
    return programs(count, child.command, orphanguard.Popen)

"""The command `orphanguard run`, as one types it: Python starts, and becomes orphanguard-run."""

import sys

from . import _ours
from ._common import programs

TITLE = "`orphanguard run`"
CLAIMS = "ends everything below the command, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR | {
    "starting": "a caller that dies while Python starts is missed, unless its pid is said: --parent-pid=$$"
}


def start(count, child):
    return programs(count, [sys.executable, "-m", "orphanguard", "run", "--", *child.command])

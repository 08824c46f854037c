"""orphanguard.Popen: subprocess.Popen, guarded."""

import orphanguard

from ._common import programs
from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.Popen`"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True


def start(count, child):
    return programs(count, child.command, orphanguard.Popen)

"""orphanguard-run --tree=pidns."""

import os

from orphanguard._bin import RUN

from ._common import programs

TITLE = "`orphanguard-run --parent-pid`, pidns"
CLAIMS = "ends everything, the supervisor's death included"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    return programs(count, [RUN, "--tree=pidns", f"--parent-pid={os.getpid()}", "--", *child.command])

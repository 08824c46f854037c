"""orphanguard-run --tree=pidns."""

import os

from orphanguard._bin import RUN

from ._common import programs

TITLE = "`orphanguard run`, pidns"
CLAIMS = "ends everything, the supervisor's death included"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    # As `orphanguard run` executes it.
    return programs(count, [RUN, "--tree=pidns", f"--parent-pid={os.getpid()}", "--", *child.command])

"""orphanguard-run --tree=cgroup."""

import os

from orphanguard._bin import RUN

from . import _ours
from ._common import programs

TITLE = "`orphanguard-run --parent-pid`, cgroup"
CLAIMS = "the same, and who became root"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return programs(count, [RUN, "--tree=cgroup", f"--parent-pid={os.getpid()}", "--", *child.command])

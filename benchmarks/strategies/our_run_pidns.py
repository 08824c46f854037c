"""orphanguard-run --tree=pidns."""

from . import _ours
from ._common import programs

TITLE = "`orphanguard-run --parent-pid`, pidns"
CLAIMS = "ends everything, the supervisor's death included"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = {}


def start(count, child):
    return programs(count, _ours.run("pidns", child.command))

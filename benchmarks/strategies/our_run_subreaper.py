"""orphanguard-run --tree=subreaper."""

from . import _ours
from ._common import programs

TITLE = "`orphanguard-run --parent-pid`, subreaper"
CLAIMS = "ends everything below the command, as long as the supervisor lives"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return programs(count, _ours.run("subreaper", child.command))

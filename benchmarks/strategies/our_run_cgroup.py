"""orphanguard-run --tree=cgroup."""

from . import _ours
from ._common import programs

TITLE = "`orphanguard-run --parent-pid`, cgroup"
CLAIMS = "the same, and who became root"
ORPHANGUARD = True
HELPER = "orphanguard-run"
NOT_CLAIMED = _ours.SUPERVISOR


def start(count, child):
    return programs(count, _ours.run("cgroup", child.command))

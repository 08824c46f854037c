"""subprocess.Popen with orphanguard.PreexecFn(): the lifeline, from any thread."""

import orphanguard

from . import _ours
from ._common import programs

TITLE = "`orphanguard.PreexecFn()`"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True
NOT_CLAIMED = _ours.NOT_CLAIMED


def start(count, child):
    return [handle for _ in range(count) for handle in programs(1, child.command, preexec_fn=orphanguard.PreexecFn())]

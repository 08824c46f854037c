"""subprocess.Popen with orphanguard.PreexecFn(): the lifeline, from any thread."""

import orphanguard

from ._common import programs
from ._ours import NOT_CLAIMED as NOT_CLAIMED

TITLE = "`orphanguard.PreexecFn()`"
CLAIMS = "never outlives its parent process, never dies early"
ORPHANGUARD = True


def start(count, child):
    return [handle for _ in range(count) for handle in programs(1, child.command, preexec_fn=orphanguard.PreexecFn())]

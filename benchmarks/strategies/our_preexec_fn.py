"""subprocess.Popen with orphanguard.preexec_fn: PDEATHSIG alone, checked."""

import orphanguard

from ._common import programs
from ._ours import GRANDCHILDREN

TITLE = "`orphanguard.preexec_fn`"
CLAIMS = "dies with its parent; main thread only, or it refuses"
ORPHANGUARD = True
NOT_CLAIMED = GRANDCHILDREN | {
    "setuid": "executing it clears PDEATHSIG, the only layer",
    "uid": "changing it clears PDEATHSIG, the only layer",
    "early-uid": "the kernel checks PDEATHSIG with the rights that the parent dies with",
    "early-thread": "refused, not started",
}


def start(count, child):
    return programs(count, child.command, preexec_fn=orphanguard.preexec_fn)

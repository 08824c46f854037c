"""util-linux's setpriv sets PDEATHSIG and executes the command."""

from ._common import programs

TITLE = "`setpriv --pdeathsig`"
CLAIMS = "sets the parent-death signal, then executes"
NEEDS = ["setpriv:"]
WRAPPER = ["setpriv", "--pdeathsig", "KILL", "--"]


def start(count, child):
    return programs(count, [*WRAPPER, *child.command])

"""python-prctl in a preexec_fn."""

import signal

import prctl

from ._common import programs

TITLE = "`preexec_fn`: python-prctl"
CLAIMS = "the kernel kills the child when the parent dies"
NEEDS = ["prctl"]
PACKAGE = "python-prctl"


def start(count, child):
    return programs(count, child.command, preexec_fn=lambda: prctl.set_pdeathsig(signal.SIGKILL))

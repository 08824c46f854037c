"""python-prctl in a preexec_fn."""

import signal

import prctl

from ._start import programs


def start(count, child):
    return programs(count, child.command, preexec_fn=lambda: prctl.set_pdeathsig(signal.SIGKILL))

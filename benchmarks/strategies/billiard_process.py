"""billiard.Process that sets billiard's own set_pdeathsig first of all, as Celery's workers do."""

import signal

import billiard
from billiard.util import set_pdeathsig

from ._start import processes


def tied(target):
    set_pdeathsig(signal.SIGKILL)
    target()


def start(count, child):
    return processes(billiard.get_context("fork"), count, tied, child.target)

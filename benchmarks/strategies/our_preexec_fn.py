"""subprocess.Popen with orphanguard.preexec_fn: PDEATHSIG alone, checked."""

import orphanguard

from ._start import programs


def start(count, child):
    return programs(count, child.command, preexec_fn=orphanguard.preexec_fn)

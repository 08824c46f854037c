"""daemon=True: multiprocessing terminates such children when the parent's interpreter ends in good order."""

import multiprocessing

from ._common import processes

TITLE = "`daemon=True`"
CLAIMS = "“daemon processes are terminated when the parent exits”"


def start(count, child):
    return processes(multiprocessing.get_context("fork"), count, child.target, daemon=True)

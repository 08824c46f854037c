"""``Popen`` of subprocess or of a library with the same interface, behind a program (``before``) or alone."""

import subprocess

from ._start import programs


def start(count, child, before=(), library=subprocess, **keywords):
    return programs(count, [*before, *child.command], library.Popen, **keywords)

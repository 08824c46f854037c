"""Plain subprocess: nothing ties the program to its parent."""

from ._common import programs

TITLE = "`subprocess.Popen`"
CLAIMS = "nothing"


def start(count, child):
    return programs(count, child.command)

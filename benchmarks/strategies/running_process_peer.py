"""running-process."""

from running_process import RunningProcess

TITLE = "running-process"
CLAIMS = "children are contained, and end with the parent"
NEEDS = ["running_process"]
PACKAGE = "running-process"


def start(count, child):
    return [RunningProcess(child.command) for _ in range(count)]

"""running-process: its subprocess.Popen."""

from running_process import RunningProcess

TITLE = "running-process"
CLAIMS = "nothing for a parent that is killed"
NEEDS = ["running_process"]
PACKAGE = "running-process"


def start(count, child):
    return [RunningProcess(child.command) for _ in range(count)]

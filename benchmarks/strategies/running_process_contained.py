"""running-process's ContainedProcessGroup."""

from running_process import ContainedProcessGroup

TITLE = "running-process, contained"
CLAIMS = "“all children killed on exit, even on crash”"
NEEDS = ["running_process"]
PACKAGE = "running-process"
groups = []


def start(count, child):
    group = ContainedProcessGroup()
    groups.append(group)
    for _ in range(count):
        group.spawn(child.command)
    return []

"""running-process: its subprocess.Popen."""

from running_process import RunningProcess


def start(count, child):
    return [RunningProcess(child.command) for _ in range(count)]

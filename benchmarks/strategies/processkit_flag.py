"""processkit-py with its flag for a parent that is killed."""

from processkit import Command, ProcessGroup

TITLE = "processkit-py, its death flag"
CLAIMS = "the direct child dies with a hard-killed parent: PDEATHSIG, “best-effort”"
NEEDS = ["processkit"]
PACKAGE = "processkit-py"
group = ProcessGroup()


def prepare():
    group.__enter__()


def start(count, child):
    program, *arguments = child.command
    for _ in range(count):
        group.start(Command(program, arguments).kill_on_parent_death())
    return []


def stop():
    group.__exit__(None, None, None)

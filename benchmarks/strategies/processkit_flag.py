"""processkit-py with its flag for a parent that is killed."""

from processkit import Command

TITLE = "processkit-py, its death flag"
CLAIMS = "“die with a hard-killed parent”"
NEEDS = ["processkit"]
PACKAGE = "processkit-py"
started = []


def start(count, child):
    program, *arguments = child.command
    started.extend(Command(program, arguments).kill_on_parent_death().start() for _ in range(count))
    return []

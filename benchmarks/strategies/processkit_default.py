"""processkit-py, as it comes."""

from processkit import Command

TITLE = "processkit-py"
CLAIMS = "“kernel-backed no-orphan guarantee”"
NEEDS = ["processkit"]
PACKAGE = "processkit-py"
started = []


def start(count, child):
    program, *arguments = child.command
    started.extend(Command(program, arguments).start() for _ in range(count))
    return []

"""processkit-py, as it comes."""

from processkit import Command, ProcessGroup

TITLE = "processkit-py"
CLAIMS = "“kernel-backed no-orphan guarantee”; “abrupt owner-death coverage is platform-specific”"
NEEDS = ["processkit"]
PACKAGE = "processkit-py"
group = ProcessGroup()


def prepare():
    group.__enter__()


def start(count, child):
    program, *arguments = child.command
    for _ in range(count):
        group.start(Command(program, arguments))
    return []


def stop():
    group.__exit__(None, None, None)

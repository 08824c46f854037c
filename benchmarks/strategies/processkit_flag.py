"""processkit-py with its flag for a parent that is killed."""

from processkit import Command

from .processkit_default import group, prepare, stop

TITLE = "processkit-py, its death flag"
CLAIMS = "the direct child dies with a hard-killed parent: PDEATHSIG, “best-effort”"
NEEDS = ["processkit"]
PACKAGE = "processkit-py"

__all__ = ["prepare", "start", "stop"]


def start(count, child):
    program, *arguments = child.command
    for _ in range(count):
        group.start(Command(program, arguments).kill_on_parent_death())
    return []

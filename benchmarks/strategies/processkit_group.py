"""processkit-py's ProcessGroup, as it comes or (``flag``) with its flag for a parent that is killed."""

from processkit import Command, ProcessGroup

group = ProcessGroup()


def prepare():
    group.__enter__()


def start(count, child, flag=False):
    program, *arguments = child.command
    for _ in range(count):
        command = Command(program, arguments)
        group.start(command.kill_on_parent_death() if flag else command)
    return []


def stop():
    group.__exit__(None, None, None)

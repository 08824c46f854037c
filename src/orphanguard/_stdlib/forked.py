"""How this process was forked, as Python saw it: by multiprocessing, by its fork server, for a ``preexec_fn``.

csrc/shim/atfork.c knows what the kernel and libc tell of the fork. The answers hold for any fork after the import of
this file. Needs CPython 3.10 to 3.15, of whose private parts it uses only the names of functions in `_EXECUTE`.
"""

from __future__ import annotations

import os
import sys

from .._core import arming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# parent_process() of multiprocessing, as this process inherited it by its fork. A fork server has none. A child of
# Process that forks by os.fork() hands on its own. So only a value that is new since the fork was set for this very
# process. Every forked child notes the inherited one, since any of them may call die_with_parent().
_inherited_parent: object = None


def _remember() -> None:
    global _inherited_parent
    _inherited_parent = _multiprocessing_parent()


os.register_at_fork(after_in_child=_remember)


def _multiprocessing_parent() -> Any:
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.parent_process()


def multiprocessing_parent() -> int | None:
    """In a child of multiprocessing: the pid of the process that asked for it; elsewhere None.

    That process is not the parent of a fork server's child, whose parent is the server.
    """
    parent = _multiprocessing_parent()
    return None if parent is None or parent is _inherited_parent else parent.pid


def by_fork_server() -> bool:
    """Whether this is a child of multiprocessing's fork server."""
    module = sys.modules.get("multiprocessing.forkserver")
    return module is not None and module.get_inherited_fds() is not None


# The functions that fork, call the preexec_fn, and execute. In the forked child they are still on the stack. uvloop
# has no frames of its own; asyncio's functions call it.
_EXECUTE = {
    ("subprocess", "_execute_child"),
    ("gevent.subprocess", "_execute_child"),
    ("asyncio.subprocess", "create_subprocess_exec"),
    ("asyncio.subprocess", "create_subprocess_shell"),
}


def is_preexec_fn() -> bool:
    """Whether this runs in a child between its fork and its exec."""
    frame: FrameType | None = sys._getframe() if arming.origin().parent else None
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _EXECUTE:
            return True
        frame = frame.f_back
    return False

"""How this process was forked, as Python saw it; csrc/shim/atfork.c has what the kernel and libc know of it.

For CPython 3.10 to 3.15, and no private part of it but the names of functions in `_EXECUTE`.
"""

from __future__ import annotations

import os
import sys

from .._core import arming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# multiprocessing's idea of the parent when this process was forked. A fork server has none, a child of Process
# that forks by os.fork() leaves its own: so what is new since the fork was set for this very process. Noted in every
# forked child once orphanguard is imported, since any of them may call die_with_parent().
_inherited_parent: object = None


def _remember() -> None:
    global _inherited_parent
    _inherited_parent = _multiprocessing_parent()


os.register_at_fork(after_in_child=_remember)


def _multiprocessing_parent() -> Any:
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.parent_process()


def multiprocessing_parent() -> int | None:
    """In a child of multiprocessing: the process that asked for it, which a fork server's child's parent is not."""
    parent = _multiprocessing_parent()
    return None if parent is None or parent is _inherited_parent else parent.pid


def by_fork_server() -> bool:
    """Whether this is a child of multiprocessing's fork server."""
    module = sys.modules.get("multiprocessing.forkserver")
    return module is not None and module.get_inherited_fds() is not None


# Who forks, calls the hook and executes: in the forked child these are still on the stack. uvloop has no frames of
# its own, asyncio's stand for it.
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

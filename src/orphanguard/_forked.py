"""Where this process was forked, as Python saw it; csrc/arm.c has what the kernel and libc know of it.

Noted in every forked child once orphanguard is imported, since any of them may call `die_with_parent`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

# multiprocessing's idea of the parent when this process was forked. A fork server has none, a child of Process
# that forks by os.fork() leaves its own: so what is new since the fork was set for this very process.
_inherited_parent: object = None
# The call that forked this process: the id of its frame, and the instruction.
_forked_by: tuple[int, int] | None = None


def _remember() -> None:
    global _inherited_parent, _forked_by
    _inherited_parent = _multiprocessing_parent()
    _forked_by = _call(sys._getframe().f_back)


os.register_at_fork(after_in_child=_remember)


def _multiprocessing_parent() -> Any:
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.parent_process()


def multiprocessing_parent() -> int | None:
    """In a child of multiprocessing: the process that asked for it, which a fork server's child's parent is not."""
    parent = _multiprocessing_parent()
    return None if parent is None or parent is _inherited_parent else parent.pid


def _call(frame: FrameType | None) -> tuple[int, int] | None:
    return frame and (id(frame), frame.f_lasti)


def is_preexec_fn(frame: FrameType | None) -> bool:
    """Whether ``frame`` runs between a fork and an exec: then the call that forked has not returned yet."""
    while frame is not None and _forked_by is not None:
        # gevent's Popen forks in a function of its own, and calls the hook after it.
        if _call(frame) == _forked_by or frame.f_globals.get("__name__") == "gevent.subprocess":
            return True
        frame = frame.f_back
    return False

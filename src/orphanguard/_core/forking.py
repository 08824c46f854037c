"""A start by fork, whose child is armed before any Python runs in it: the calls of csrc/shim/fork.c and atfork.c.

The child waits at a gate until this process has its pidfd. A start belongs to its thread. Needs a lifeline that
`lifelines.open` has opened.
"""

from __future__ import annotations

import os

from . import gevent
from .native import fail, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Begins the start of a child in this thread. True if one is under way here already: a signal handler has interrupted
#: that start, and must call `save_start` first.
begin_start: Callable[[], bool] = lib.og_begin_start
end_start: Callable[[], None] = lib.og_end_start


def save_start() -> Callable[[], None]:
    """Sets the start that is under way in this thread aside. The result brings it back."""
    saved = ffi.new("struct og_start *")
    lib.og_save_start(saved)
    return lambda: lib.og_restore_start(saved)


#: A number that changes with each fork of this thread.
last_fork: Callable[[], int] = lib.og_last_fork
_arm_next_fork = lib.og_arm_next_fork
# Bound here: the child calls it, and to look it up in `lib` there would make the kernel copy one more page.
_forked = lib.og_forked


def arm_next_fork(held: Any) -> bool:
    """Has the next `fork_armed` of this thread arm its child on the lifeline of ``held``.

    Returns whether the child will be armed with PDEATHSIG too.
    """
    pdeathsig: int = _arm_next_fork(held)
    if pdeathsig < 0:
        fail(pdeathsig)
    return pdeathsig != 0


def fork_armed() -> int:
    """``os.fork()`` whose child is armed before any Python runs in it. `arm_next_fork` must come before.

    In the child it returns when this process has the child's pidfd, in ``held``. If it raises, there is no child.
    """
    fork = gevent.fork_function()
    try:
        pid = fork()
    except OSError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            lib.og_fork_failed()  # os.fork() itself has raised it, not a signal handler after it
        raise
    if (code := _forked(pid)) < 0:
        fail(code)
    if pid == 0 and fork is not os.fork:
        gevent.forked()
    return pid


#: The fd of the description that the child of the next `fork_armed` is armed on.
armed_next_fork: Callable[[], int] = lib.og_armed_next_fork
#: Ends and reaps a child whose pid was lost: an exception came between the fork and the return of `fork_armed`.
abandon: Callable[[], None] = lib.og_abandon

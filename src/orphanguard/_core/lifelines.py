"""What a parent holds for its children: the calls of csrc/shim/lifeline.c.

A lifeline is a pipe whose last write end, when the kernel releases it with the parent, makes the kernel kill the child.
docs/lifeline.md explains it. The struct of a child owns whatever the child's start opens here. Needs `native`.
"""

from __future__ import annotations

from .native import fail, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def held() -> tuple[Any, object]:
    """An empty struct og_child of csrc/shim/shim_api.h: what a parent holds for one child.

    The calls of the shim fill it in themselves, so that no signal handler gets between the opening of an fd and its
    owner. The second result gives everything back when it is collected, except the pidfd of a child that may still run.
    Keep the two side by side: a finaliser may bring their owner back after Python has finalised the second, and a Popen
    that still runs needs the struct then.
    """
    struct = ffi.new("struct og_child *", {"lifeline": -1, "strand": -1, "pidfd": -1})
    return struct, ffi.gc(struct, lib.og_child_free)


def open(held: Any, *, pdeathsig: bool, signal: int = 9, for_hook: bool = False) -> None:
    """Opens a description for one child to be armed on, and leaves it in ``held``.

    ``signal``: what the kernel sends to the child when this process is gone.
    ``pdeathsig``: the child will be forked, and armed with PDEATHSIG too if this is the main thread. A seccomp filter
    may refuse that; the child inherits the filter, so the call finds it out here, before there is a child. A spawned
    child reports a refusal itself.
    ``for_hook``: other code forks the child, which then arms itself on this number. Until it has, all children that are
    forked get a copy of the description; afterwards none does.
    """
    if (code := lib.og_lifeline_open(held, signal, pdeathsig, for_hook)) < 0:
        fail(code)


#: Closes this process's number of the description, ``held.lifeline``: the child is armed. `forking.fork_armed` and
#: `spawning.spawn` do so themselves.
let_go: Callable[[Any], None] = lib.og_lifeline_let_go
#: Gives the description back, at any time. It is not used again while its child lives or may still arm itself.
give_back: Callable[[Any], None] = lib.og_lifeline_give_back
#: The pid of the process that is armed on the description; 0 before it is armed, and after it has been reaped.
owner: Callable[[Any], int] = lib.og_lifeline_owner

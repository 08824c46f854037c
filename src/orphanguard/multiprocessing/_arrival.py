"""How the lifeline reaches a child that was not forked from its parent: ahead of all else in its start data.

The first thing that a spawn or fork-server child unpickles is an `Arming`. Unpickling it runs `arrive` there:
before ``spawn.prepare`` imports the user's main module, and before any of the user's objects.
"""

from __future__ import annotations

import os
import struct

from .. import _native
from . import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a fork server's child answers when it is armed: its pid and 0, or an errno.
ANSWER = struct.Struct("qq")

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class Arming:
    """Unpickles to a call of ``function`` of ``module``, which is next to this one, in the child."""

    def __init__(self, module: str, function: str, *arguments: Any) -> None:
        self.module = module
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Source text, since sys.path is not set up at that time: a package that is only on the parent's
        # sys.path could not be imported to resolve a reference.
        arguments = ", ".join(map(repr, self.arguments))
        return exec, (
            "import sys\n"
            "try: import orphanguard\n"
            f"except ImportError: sys.path.append({_ROOT!r})\n"
            f"from {__package__}.{self.module} import {self.function}; {self.function}({arguments})",
        )


def arrive_spawned(lifeline: int) -> None:
    """In a spawn child, which was armed before its exec: the exec made the shim forget."""
    os.set_inheritable(lifeline, False)
    _native.arm(lifeline, pdeathsig=False)


def arrive_forked(lifeline_index: int, answer_index: int) -> None:
    """In a fork server's child: arms it and tells the parent, which waits for that before it calls it started."""
    answer = _stdlib.forkserver_inherited_fd(answer_index)
    lifeline = _stdlib.forkserver_inherited_fd(lifeline_index)
    try:
        _native.arm(lifeline, pdeathsig=False)
    except OSError as error:
        os.write(answer, ANSWER.pack(os.getpid(), error.errno or 0))
        os._exit(127)
    os.write(answer, ANSWER.pack(os.getpid(), 0))
    os.close(answer)

"""How the lifeline reaches a child that was not forked from its parent: ahead of all else in its start data.

The first thing that a spawn or fork-server child unpickles is an `Arming`. Unpickling it runs `arrive` there:
before ``spawn.prepare`` imports the user's main module, and before any of the user's objects.
"""

from __future__ import annotations

import errno
import os
import struct

from .._core import arming
from .._stdlib import multiprocessing as seam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a fork server's child answers: 0 when it is armed, or the errno of what was refused.
ANSWER = struct.Struct("q")
#: What a child that is held waits for. The end of the file ends it.
GO = b"g"

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
    arming.arm(lifeline, pdeathsig=False)


def arrive_forked(lifeline_index: int, answer_index: int, go_index: int) -> None:
    """In a fork server's child: arms it, tells the parent, and returns when that has all that it needs.

    A start that has failed or was interrupted never gets there. So nothing of the user's has run then, nor will.
    """
    lifeline, answer, go = map(seam.forkserver_inherited_fd, (lifeline_index, answer_index, go_index))
    code = 0
    try:
        arming.arm(lifeline, pdeathsig=False)
    except OSError as error:
        code = error.errno or errno.EINVAL
    try:
        os.write(answer, ANSWER.pack(code))
        if code or os.read(go, 1) != GO:
            os._exit(127)
    except OSError:  # nobody waits for the answer
        os._exit(127)
    os.close(answer)

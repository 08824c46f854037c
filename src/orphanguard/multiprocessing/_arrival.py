"""What runs first in a worker that was not forked from its parent: the worker learns of its lifeline.

The first thing that a spawned worker or a fork server's child unpickles is an `Arming`. To unpickle it is to call a
function of this module or of _under_supervisor.py, before ``spawn.prepare`` imports the user's main module and before
any object of the user's is unpickled. Needs a parent that puts the `Arming` into its start data
(_stdlib/multiprocessing.py).
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

#: The answer of a fork server's child: 0 if it is armed, or the errno of the call that was refused.
ANSWER = struct.Struct("q")
#: The byte for which a held child waits. If the pipe ends without it, the child ends.
GO = b"g"

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class Arming:
    """When the child unpickles it, it calls ``function(*arguments)`` of ``module``, a module of this package."""

    def __init__(self, module: str, function: str, *arguments: Any) -> None:
        self.module = module
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Source text and no reference, because the child's sys.path is not set up yet: if orphanguard is only on the
        # parent's sys.path, the child could not import it to resolve a reference.
        arguments = ", ".join(map(repr, self.arguments))
        return exec, (
            "import sys\n"
            "try: import orphanguard\n"
            f"except ImportError: sys.path.append({_ROOT!r})\n"
            f"from {__package__}.{self.module} import {self.function}; {self.function}({arguments})",
        )


def arrive_spawned(lifeline: int) -> None:
    """Arms a spawned worker once more: it was armed before its exec, and the exec made the shim forget the fd."""
    os.set_inheritable(lifeline, False)
    arming.arm(lifeline, pdeathsig=False)


def arrive_forked(lifeline_index: int, answer_index: int, go_index: int) -> None:
    """Arms a fork server's child, tells the parent so, and returns when the parent has all that it needs.

    If the start fails or is interrupted, this ends the child, so no code of the user's runs. The arguments are the
    indexes of the fds that the parent has sent through the server.
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
    except OSError:  # no parent waits for the answer any more
        os._exit(127)
    os.close(answer)

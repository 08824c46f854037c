"""The C shim, loaded. Loading it installs its at-fork handlers (csrc/shim/atfork.c).

The typed calls of the shim are in `polling`, `fds`, `lifelines`, `arming`, `forking`, `spawning` and `pidfds`. No other
module touches cffi. A failed call becomes an OSError that names the call.
"""

from __future__ import annotations

from ._shim import ffi, lib
from .errors import guard_error, os_error

__all__ = ["fail", "ffi", "lib"]

TYPE_CHECKING = False  # importing typing would cost every fork the pages that it fills
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


def fail(code: int, error: Callable[[int, str], OSError] = guard_error, call: Any = None) -> NoReturn:
    """Raises the ``error`` for ``code``, a negative errno that the shim has returned, and for the ``call`` that failed.

    ``call``: its name as a C string; None takes the name that the shim keeps for this thread.
    """
    raise error(-code, ffi.string(call or lib.og_failed_call()).decode())


if (_code := lib.og_init()) < 0:
    fail(_code, os_error)

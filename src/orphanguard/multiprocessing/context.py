"""``multiprocessing.context`` with guarded contexts and processes.

The contexts of all start methods are loaded here. All other public names are the standard module's, except
``DefaultContext``, whose processes are unguarded.
"""

from __future__ import annotations

from multiprocessing import context as _standard

from ._fork import ForkContext, ForkProcess
from ._forkserver import ForkServerContext, ForkServerProcess
from ._methods import Process
from ._mirror import names, others
from ._spawn import SpawnContext, SpawnProcess

__all__ = [
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "SpawnContext",
    "SpawnProcess",
]

_UNGUARDED = ("DefaultContext",)
__getattr__ = others(__name__, _standard, _UNGUARDED, "use orphanguard.get_context(), which follows set_start_method()")


def __dir__() -> list[str]:
    return sorted({*__all__, *names(_standard)} - {*_UNGUARDED})

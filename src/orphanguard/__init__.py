"""Child processes that the kernel kills when their parent process dies, and never before.

The public names are loaded on first use (PEP 562), so ``import orphanguard`` imports neither ``multiprocessing`` nor
``subprocess``. The import does load the C shim, whose at-fork handlers enable a child of any later fork to arm itself
by `die_with_parent`. Needs Linux: on other systems the import raises ImportError.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError(f"orphanguard needs Linux: its guarantees are the Linux kernel's (this is {sys.platform})")

from ._core import native as _native  # noqa: F401
from ._stdlib import forked as _forked  # noqa: F401

TYPE_CHECKING = False  # type checkers take it to be true; to import typing costs more than all of this
if TYPE_CHECKING:
    from . import asyncio as asyncio
    from . import futures as futures
    from . import hooks as hooks
    from . import multiprocessing as multiprocessing
    from . import subprocess as subprocess
    from ._core.errors import GuardUnavailable, StatusLostWarning
    from ._core.guard import Guard
    from .asyncio import create_subprocess_exec, create_subprocess_shell
    from .futures import ProcessPoolExecutor
    from .hooks import PreexecFn, die_with_parent, preexec_fn
    from .multiprocessing import Manager, Pool, Process, get_context
    from .subprocess import Popen, call, check_call, check_output, run
    from .waiting import wait

__version__ = "0.1.0"

__all__ = [
    "Guard",
    "GuardUnavailable",
    "Manager",
    "Pool",
    "Popen",
    "PreexecFn",
    "Process",
    "ProcessPoolExecutor",
    "StatusLostWarning",
    "call",
    "check_call",
    "check_output",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "die_with_parent",
    "get_context",
    "preexec_fn",
    "run",
    "wait",
]

#: The module of each public name.
_HOME = {
    "Guard": "_core.guard",
    "GuardUnavailable": "_core.errors",
    "Manager": "multiprocessing",
    "Pool": "multiprocessing",
    "Popen": "subprocess",
    "PreexecFn": "hooks",
    "Process": "multiprocessing",
    "ProcessPoolExecutor": "futures",
    "StatusLostWarning": "_core.errors",
    "call": "subprocess",
    "check_call": "subprocess",
    "check_output": "subprocess",
    "create_subprocess_exec": "asyncio",
    "create_subprocess_shell": "asyncio",
    "die_with_parent": "hooks",
    "get_context": "multiprocessing",
    "preexec_fn": "hooks",
    "run": "subprocess",
    "wait": "waiting",
}


if not TYPE_CHECKING:  # with this in sight, a type checker accepts every misspelt name

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in ("asyncio", "futures", "hooks", "multiprocessing", "subprocess"):
            return import_module(f"{__name__}.{name}")
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

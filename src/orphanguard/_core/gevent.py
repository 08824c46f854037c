"""The waits of a program that gevent has monkey-patched: while a greenlet waits, the other greenlets run.

gevent replaces functions of the standard library, before or after this package is imported, and removes some
(``select.epoll``). So each call here asks anew. A wait for a program or for its pipes waits in gevent's hub. A start
does not, and switches to no other greenlet: a start belongs to its thread, and the greenlets of a thread would share
it. We build on the original classes and functions of ``subprocess``.

We use the original ``os.fork`` too: gevent's makes libev reap the child before we can. A ``gevent.subprocess`` that the
program uses beside us makes libev reap all children (``waitpid(-1)``). The status of ours is then what the kernel
keeps (Linux 6.15), or 255 with a `StatusLostWarning`.

Needs gevent 23 or later, and only public functions of ``gevent.monkey``, ``select``, ``selectors``, ``fileobject`` and
``hub``. What it borrows from ``subprocess`` of CPython 3.10 to 3.14, and tests/seams/test_drift.py checks:

- ``Popen.__init__`` opens pipes by ``io.open(fd, mode, bufsize)``.
- ``Popen._communicate`` looks up ``_PopenSelector``.
- ``Popen._execute_child`` closes its error pipe by ``os.close``, and ``_close_pipe_fds`` so closes the program's pipes.
  gevent's ``os.close`` does not close before its hub has something to do: a greenlet that waits for the end of such a
  pipe would wait for ever.
- ``Popen._execute_child`` looks up ``_fork_exec``, in 3.10 ``_posixsubprocess``, which gevent sets to None.

eventlet has no such functions. In a program that eventlet has patched, we start nothing: see `check`.
"""

from __future__ import annotations

import os
import posix  # has the functions of os as they are before gevent patches os
import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def _monkey() -> Any:
    return sys.modules.get("gevent.monkey")


def patched() -> bool:
    """Whether to wait in gevent's hub."""
    monkey = _monkey()
    return monkey is not None and monkey.is_module_patched("select")


def check() -> None:
    """Raises RuntimeError in a program that eventlet has patched."""
    patcher: Any = sys.modules.get("eventlet.patcher")
    if patcher is not None and any(map(patcher.is_monkey_patched, ("os", "select", "subprocess", "thread"))):
        raise RuntimeError(
            "orphanguard starts nothing in a program that eventlet has monkey-patched: to wait for it would stop all "
            "green threads (gevent is supported)"
        )


def original(module: str, name: str) -> Any:
    """``module.name`` of the standard library as it was before gevent patched it."""
    monkey = _monkey()
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


class Unpatched:
    """A module of the standard library as it was before gevent patched it."""

    def __init__(self, module: Any) -> None:
        self._name = module.__name__

    def __getattr__(self, name: str) -> Any:
        return original(self._name, name)


def fork_function() -> Callable[[], int]:
    """``os.fork``; once gevent.monkey is imported, the original of it."""
    return os.fork if _monkey() is None else posix.fork


def forked() -> None:
    """In a child of the original ``fork``: does what gevent's would do."""
    import_module("gevent.hub").reinit()


def wait_readable(fds: Iterable[int], timeout: float | None) -> bool:
    """As `polling.wait_readable`, in the hub, until one of ``fds`` is readable."""
    select = import_module("gevent.select")
    poller = select.poll()
    # We watch copies: another greenlet may close the fds meanwhile, and what the hub watches must stay open.
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))
            poller.register(copies[-1], select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(timeout, 0) * 1000))
    finally:
        for copy in copies:
            posix.close(copy)


# --- subprocess.Popen


def _open(fd: int, mode: str, bufsize: int) -> Any:
    """``io.open`` for a pipe, whose reads and writes wait in the hub."""
    return import_module("gevent.fileobject").FileObjectPosix(fd, mode, bufsize).io


def seams() -> dict[str, tuple[str, ...]]:
    """What each borrowed method of ``subprocess.Popen`` must look up, for the drift test."""
    forks = "_posixsubprocess" if sys.version_info < (3, 11) else "_fork_exec"
    return {
        "__init__": ("io",),
        "_communicate": ("_PopenSelector",),
        "_execute_child": ("os", forks),
        "_close_pipe_fds": ("os",),
    }


def borrowed(name: str) -> Callable[..., Any]:
    """The method ``name`` of the standard Popen, for a program that gevent has patched."""
    import io

    from .borrowed import Overlay, replaced

    if name == "__init__":
        names: dict[str, object] = {"io": Overlay(io, open=_open)}
    elif name == "_communicate":
        names = {"_PopenSelector": import_module("gevent.selectors").DefaultSelector}
    elif name == "_close_pipe_fds":
        names = {"os": Overlay(os, close=posix.close)}
    else:
        forks: Any = import_module("_posixsubprocess")
        names = {"os": Overlay(os, close=posix.close)}
        names |= {"_posixsubprocess": forks} if sys.version_info < (3, 11) else {"_fork_exec": forks.fork_exec}
    return replaced(getattr(original("subprocess", "Popen"), name), **names)

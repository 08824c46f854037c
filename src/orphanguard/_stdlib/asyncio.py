"""The one file that leans on a private part of ``asyncio``: CPython 3.10 to 3.15.

It waits for a program, and signals it, by a pidfd. A start that fails leaves nothing behind.

What it relies on, and tests/seams/test_drift.py checks, is ``base_subprocess.BaseSubprocessTransport``. Its
``__init__`` calls ``_start``, which sets ``_proc``. We must call ``_process_exited(returncode)`` once, and ``_wait()``
waits for that call.
"""

from __future__ import annotations

import contextlib
from asyncio import base_subprocess
from typing import TYPE_CHECKING, Any

from .._core.fds import OwnFd

if TYPE_CHECKING:
    from collections.abc import Callable

# The pidfd of a program that a debugger traces reports it as dead a moment before its parent may reap it.
_RETRY = 0.001  # seconds

_Base: Any = base_subprocess.BaseSubprocessTransport


class Transport(_Base):  # type: ignore[misc]
    """asyncio's transport for a program that ``popen(...)`` starts, with the arguments of `orphanguard.Popen`."""

    def __init__(self, popen: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._popen = popen
        self._pidfd = OwnFd()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:  # raised by a loop that can't watch fds, or by a task factory
            self._take_back()
            raise

    def _start(  # noqa: PLR0917 (the standard library's order)
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **kwargs: Any
    ) -> None:
        self._proc = self._popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **kwargs
        )
        # We watch a copy: Popen closes its own pidfd when a poll by any code sees the end.
        self._pidfd = self._proc._dup_pidfd()
        self._loop.add_reader(self._pidfd.fd, self._ended)

    def _take_back(self) -> None:
        if self._pidfd.fd >= 0:
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_reader(self._pidfd.fd)
            self._pidfd.close()
        if self._proc is not None:
            self._proc.kill()
            # We do not read the pipes to their end: children of the program may keep them open.
            for file in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
                if file is not None:
                    file.close()
            self._proc.wait()
        self.close()

    def _ended(self) -> None:
        if self._pidfd.fd < 0:
            return  # a loop may call once more, although the reader was removed
        returncode = self._proc.poll()
        self._loop.remove_reader(self._pidfd.fd)
        if returncode is None:
            self._loop.call_later(_RETRY, self._loop.add_reader, self._pidfd.fd, self._ended)
            return
        self._pidfd.close()
        self._process_exited(returncode)

    # These use the pidfd. The standard library's use the pid, from 3.12 on.

    def send_signal(self, signal: int) -> None:
        self._check_proc()
        self._proc.send_signal(signal)

    def terminate(self) -> None:
        self._check_proc()
        self._proc.terminate()

    def kill(self) -> None:
        self._check_proc()
        self._proc.kill()

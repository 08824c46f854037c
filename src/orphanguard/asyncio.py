"""``asyncio`` with guarded programs: ``from orphanguard import asyncio`` is the whole migration.

`create_subprocess_exec` and `create_subprocess_shell` are ours, here and in `subprocess` below; the other public
names are the standard module's. They return asyncio's own `Process`.

The program is an `orphanguard.Popen`, so it does not matter that the event loop runs in a thread which may end
first. Its end is heard of by its pidfd in the loop itself: no child watcher, no thread, no SIGCHLD. So it also works
in a loop of any thread on every Python, and in loops that are not asyncio's own (``add_reader`` is all they need).

``loop.subprocess_exec`` and ``loop.subprocess_shell`` are methods of the loop and start unguarded programs: those of
asyncio's loops, of uvloop's, and of any other.

The one place that leans on a private part of ``asyncio``: ``base_subprocess.BaseSubprocessTransport`` of CPython 3.10
to 3.15, whose ``__init__`` calls ``_start``, which sets ``_proc``; ``_process_exited(returncode)`` is called once, and
``_wait()`` waits for that. Checked by tests/test_stdlib_drift.py.
"""

from __future__ import annotations

import asyncio as _standard
import contextlib
import sys
from asyncio import base_subprocess
from asyncio import subprocess as _standard_subprocess
from typing import TYPE_CHECKING, Any

from ._borrowed import Overlay
from ._fds import OwnFd
from ._signature import shows
from .subprocess import Popen

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from ._guard import Containment

__all__ = ["create_subprocess_exec", "create_subprocess_shell"]
__all__ += [name for name in _standard.__all__ if name not in __all__]

_LIMIT = 2**16  # bytes that a StreamReader buffers; asyncio's own default
# A program that a debugger traces is dead for its pidfd a moment before its parent may reap it.
_RETRY = 0.001  # seconds

_Base: Any = base_subprocess.BaseSubprocessTransport


class TreeProcess(_standard_subprocess.Process):
    """`asyncio.subprocess.Process` with ``tree=``: ``pid`` is the supervisor's."""

    @property
    def command_pid(self) -> int:
        return self._popen.command_pid  # type: ignore[return-value]

    @property
    def containment(self) -> Containment:
        return self._popen.containment  # type: ignore[return-value]

    @property
    def _popen(self) -> Popen[bytes]:
        popen: Popen[bytes] = self._transport.get_extra_info("subprocess")  # type: ignore[attr-defined]
        return popen


class _Transport(_Base):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pidfd = OwnFd()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:  # of a loop that can't watch fds, or of a task factory
            self._take_back()
            raise

    def _start(  # noqa: PLR0917 (the standard library's order)
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **kwargs: Any
    ) -> None:
        proc: Popen[bytes] = Popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **kwargs
        )
        self._proc = proc
        # A copy, since Popen closes its own when anybody polls it.
        self._pidfd = proc._dup_pidfd()
        self._loop.add_reader(self._pidfd.fd, self._ended)

    def _take_back(self) -> None:
        if self._pidfd.fd >= 0:
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_reader(self._pidfd.fd)
            self._pidfd.close()
        if self._proc is not None:
            self._proc.kill()
            # Not read to their end: what the program has started may keep them open.
            for file in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
                if file is not None:
                    file.close()
            self._proc.wait()
        self.close()

    def _ended(self) -> None:
        if self._pidfd.fd < 0:
            return  # a loop that calls once more, although the reader was removed
        returncode = self._proc.poll()
        self._loop.remove_reader(self._pidfd.fd)
        if returncode is None:
            self._loop.call_later(_RETRY, self._loop.add_reader, self._pidfd.fd, self._ended)
            return
        self._pidfd.close()
        self._process_exited(returncode)

    # By the pidfd; the standard library's use the pid, from 3.12 on.

    def send_signal(self, signal: int) -> None:
        self._check_proc()
        self._proc.send_signal(signal)

    def terminate(self) -> None:
        self._check_proc()
        self._proc.terminate()

    def kill(self) -> None:
        self._check_proc()
        self._proc.kill()


@shows(Popen.__init__, without=("args",), universal_newlines=False, shell=False, bufsize=0)
async def create_subprocess_exec(program: Any, *args: Any, limit: int = _LIMIT, **kwds: Any) -> Process:
    """`asyncio.create_subprocess_exec` whose program dies with this process, and not before.

    Arguments as there (``stdin``, ``stdout``, ``stderr``, ``limit`` in bytes, and those of `subprocess.Popen`), and
    ``death_signal``, ``guard``, ``tree`` and ``grace`` of `orphanguard.Popen`, whose guarantees hold, with its
    ``command_pid`` and ``containment``. Raises what that raises.
    """
    return await _create((program, *args), False, limit, kwds)


@shows(Popen.__init__, without=("args",), universal_newlines=False, shell=True, bufsize=0)
async def create_subprocess_shell(
    cmd: str | bytes, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _LIMIT, **kwds: Any
) -> Process:
    """`asyncio.create_subprocess_shell`, as `create_subprocess_exec`.

    What is guarded is the shell; most shells execute the last command of a line in their own place.
    """
    if not isinstance(cmd, (str, bytes)):
        raise ValueError("cmd must be a string")
    return await _create(cmd, True, limit, {"stdin": stdin, "stdout": stdout, "stderr": stderr, **kwds})


_FIXED = {
    "universal_newlines": (False, 0, None),
    "bufsize": (0,),
    "text": (False, 0, None),
    "encoding": (None,),
    "errors": (None,),
}


async def _create(args: Any, shell: bool, limit: int, kwds: dict[str, Any]) -> Process:
    if bool(kwds.pop("shell", shell)) is not shell:
        raise ValueError(f"shell must be {shell}")
    for name, values in _FIXED.items():
        if kwds.pop(name, values[0]) not in values:
            raise ValueError(f"{name} must be {values[0]}")
    stdio = [kwds.pop(name, None) for name in ("stdin", "stdout", "stderr")]
    loop = _standard.get_running_loop()
    protocol = _standard_subprocess.SubprocessStreamProtocol(limit=limit, loop=loop)
    connected = loop.create_future()
    transport = _Transport(loop, protocol, args, shell, *stdio, 0, waiter=connected, **kwds)
    # Asked now: in a loop that hears of the program's end before the pipes are connected, the transport has let go of
    # its Popen by the time that we are woken.
    public = TreeProcess if transport._proc.containment else _standard_subprocess.Process
    try:
        await connected
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:  # cancelled, above all
        transport.close()
        await transport._wait()
        raise
    return public(transport, protocol, loop)


#: ``asyncio.subprocess``, with the two guarded.
subprocess: Any = Overlay(
    _standard_subprocess,
    create_subprocess_exec=create_subprocess_exec,
    create_subprocess_shell=create_subprocess_shell,
)


def __getattr__(name: str) -> Any:
    if name not in __all__ and f"asyncio.{name}" not in sys.modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted({*__all__, "subprocess"})

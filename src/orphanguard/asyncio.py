"""``asyncio`` with guarded programs: ``from orphanguard import asyncio`` is the whole migration.

`create_subprocess_exec` and `create_subprocess_shell` are ours, here and in `subprocess` below; the other public
names are the standard module's. They return asyncio's own `Process`.

The program is an `orphanguard.Popen`, so it does not matter that the event loop runs in a thread which may end
first. Its end is heard of by its pidfd in the loop itself: no child watcher, no thread, no SIGCHLD. So it also works
in a loop of any thread on every Python, and in loops that are not asyncio's own (``add_reader`` is all they need).

``loop.subprocess_exec`` and ``loop.subprocess_shell`` are methods of the loop and start unguarded programs: those of
asyncio's loops, of uvloop's, and of any other.
"""

from __future__ import annotations

import asyncio as _standard
import sys
from asyncio import subprocess as _standard_subprocess
from typing import TYPE_CHECKING, Any

from ._core.borrowed import Overlay
from ._core.signature import shows
from ._stdlib.asyncio import Transport as _Transport
from .subprocess import Popen

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from ._core.guard import Containment

__all__ = ["create_subprocess_exec", "create_subprocess_shell"]
__all__ += [name for name in _standard.__all__ if name not in __all__]

_LIMIT = 2**16  # bytes that a StreamReader buffers; asyncio's own default


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
    transport = _Transport(Popen, loop, protocol, args, shell, *stdio, 0, waiter=connected, **kwds)
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

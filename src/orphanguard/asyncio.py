"""``asyncio`` with guarded programs: ``from orphanguard import asyncio`` is the whole migration.

`create_subprocess_exec` and `create_subprocess_shell` are orphanguard's, here and in `subprocess` below. They return
asyncio's own `Process`. All other public names are the standard module's.

Guaranteed is what `orphanguard.Popen` guarantees, because each program is one. So the thread of the event loop may end
before the program does. The loop itself watches a pidfd of the program, without a child watcher, a thread or SIGCHLD.
So this works in the loop of any thread, on every Python, and in loops that are not asyncio's own.

Needs a loop with ``add_reader``, and the seam in _stdlib/asyncio.py. Programs of ``loop.subprocess_exec`` and
``loop.subprocess_shell`` are *not* guarded: these are methods of the loop, be it asyncio's, uvloop's or another.
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

    from ._core.containment import Containment

__all__ = ["create_subprocess_exec", "create_subprocess_shell"]
__all__ += [name for name in _standard.__all__ if name not in __all__]

_LIMIT = 2**16  # bytes that a StreamReader buffers; asyncio's own default


class TreeProcess(_standard_subprocess.Process):
    """`asyncio.subprocess.Process` of a program with ``tree=``: ``pid`` is the supervisor's."""

    @property
    def command_pid(self) -> int:
        """The program's own pid."""
        return self._popen.command_pid  # type: ignore[return-value]

    @property
    def containment(self) -> Containment:
        """What holds the tree together: ``"subreaper"``, ``"cgroup"`` or ``"pidns"``."""
        return self._popen.containment  # type: ignore[return-value]

    @property
    def _popen(self) -> Popen[bytes]:
        popen: Popen[bytes] = self._transport.get_extra_info("subprocess")  # type: ignore[attr-defined]
        return popen


@shows(Popen.__init__, without=("args",), universal_newlines=False, shell=False, bufsize=0)
async def create_subprocess_exec(program: Any, *args: Any, limit: int = _LIMIT, **kwds: Any) -> Process:
    """`asyncio.create_subprocess_exec` whose program dies with this process, and not before.

    Arguments are those of the standard function (``stdin``, ``stdout``, ``stderr``, ``limit`` in bytes, and those of
    `subprocess.Popen`), and ``death_signal``, ``guard``, ``tree`` and ``grace`` (seconds) of `orphanguard.Popen`. With
    ``tree`` the returned process has ``command_pid`` and ``containment``.

    Guarantees what `orphanguard.Popen` guarantees, and raises what it raises. If the start fails or is cancelled, no
    program is left.
    """
    return await _create((program, *args), False, limit, kwds)


@shows(Popen.__init__, without=("args",), universal_newlines=False, shell=True, bufsize=0)
async def create_subprocess_shell(
    cmd: str | bytes, stdin: Any = None, stdout: Any = None, stderr: Any = None, limit: int = _LIMIT, **kwds: Any
) -> Process:
    """`asyncio.create_subprocess_shell`, guarded as by `create_subprocess_exec`, with the same arguments.

    The guarded process is the shell. Most shells execute the last command of a line in their own place; a command
    before it is covered only with ``tree``. Raises ValueError if ``cmd`` is neither str nor bytes.
    """
    if not isinstance(cmd, (str, bytes)):
        raise ValueError("cmd must be a string")
    return await _create(cmd, True, limit, {"stdin": stdin, "stdout": stdout, "stderr": stderr, **kwds})


# Parameters that asyncio fixes: the value without the argument, and other values that asyncio lets pass.
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
    # Asked before the await: a loop may learn of the program's end before the pipes are connected (uvloop does). The
    # transport has dropped its Popen by the time that this coroutine goes on.
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


#: ``asyncio.subprocess`` with the two guarded functions in it.
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

"""What type checkers and editors see of asyncio.py: all of asyncio, with guarded programs.

`make lint` (stubtest) compares this stub with the module, and tests/api/test_signatures.py compares the defaults.
Needs typeshed's stubs of asyncio.
"""

import sys
from asyncio import base_events as base_events
from asyncio import constants as constants
from asyncio import coroutines as coroutines
from asyncio import events as events
from asyncio import exceptions as exceptions
from asyncio import futures as futures
from asyncio import locks as locks
from asyncio import log as log
from asyncio import protocols as protocols
from asyncio import queues as queues
from asyncio import runners as runners
from asyncio import streams as streams
from asyncio import tasks as tasks
from asyncio import threads as threads
from asyncio import transports as transports
from asyncio import unix_events as unix_events
from asyncio.base_events import *
from asyncio.coroutines import *
from asyncio.events import *
from asyncio.exceptions import *
from asyncio.futures import *
from asyncio.locks import *
from asyncio.protocols import *
from asyncio.queues import *
from asyncio.runners import *
from asyncio.streams import *
from asyncio.subprocess import Process
from asyncio.tasks import *
from asyncio.threads import *
from asyncio.transports import *
from asyncio.unix_events import *
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import IO, Any, Literal, TypeAlias, overload

from _typeshed import StrOrBytesPath

from . import _asyncio_subprocess
from ._core.containment import Containment, Tree

if sys.version_info >= (3, 11):
    from asyncio import taskgroups as taskgroups
    from asyncio import timeouts as timeouts
    from asyncio.taskgroups import *
    from asyncio.timeouts import *
if sys.version_info >= (3, 14):
    from asyncio.graph import *

subprocess = _asyncio_subprocess

_Path: TypeAlias = StrOrBytesPath
_ENV: TypeAlias = Mapping[bytes, _Path] | Mapping[str, _Path]
_FILE: TypeAlias = int | IO[Any] | None
_Hook: TypeAlias = Callable[[], object]

class TreeProcess(Process):
    @property
    def command_pid(self) -> int: ...
    @property
    def containment(self) -> Containment: ...

# fmt: off

@overload  # with a tree
async def create_subprocess_exec(
    program: _Path, *args: _Path, stdin: _FILE = None, stdout: _FILE = None, stderr: _FILE = None, limit: int = 65536,
    universal_newlines: Literal[False] = False, shell: Literal[False] = False, bufsize: Literal[0] = 0,
    encoding: None = None, errors: None = None, text: Literal[False] | None = None,
    executable: _Path | None = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
    cwd: _Path | None = None, env: _ENV | None = None, startupinfo: Any = None, creationflags: int = 0,
    restore_signals: bool = True, start_new_session: bool = False, pass_fds: Collection[int] = (),
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    death_signal: int | str | None = None, guard: bool = True, tree: Literal[True] | Containment,
    grace: float | None = None,
) -> TreeProcess: ...
@overload  # no tree, or not known to be one
async def create_subprocess_exec(
    program: _Path, *args: _Path, stdin: _FILE = None, stdout: _FILE = None, stderr: _FILE = None, limit: int = 65536,
    universal_newlines: Literal[False] = False, shell: Literal[False] = False, bufsize: Literal[0] = 0,
    encoding: None = None, errors: None = None, text: Literal[False] | None = None,
    executable: _Path | None = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
    cwd: _Path | None = None, env: _ENV | None = None, startupinfo: Any = None, creationflags: int = 0,
    restore_signals: bool = True, start_new_session: bool = False, pass_fds: Collection[int] = (),
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> Process: ...
@overload  # with a tree
async def create_subprocess_shell(
    cmd: str | bytes, stdin: _FILE = None, stdout: _FILE = None, stderr: _FILE = None, limit: int = 65536, *,
    universal_newlines: Literal[False] = False, shell: Literal[True] = True, bufsize: Literal[0] = 0,
    encoding: None = None, errors: None = None, text: Literal[False] | None = None,
    executable: _Path | None = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
    cwd: _Path | None = None, env: _ENV | None = None, startupinfo: Any = None, creationflags: int = 0,
    restore_signals: bool = True, start_new_session: bool = False, pass_fds: Collection[int] = (),
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    death_signal: int | str | None = None, guard: bool = True, tree: Literal[True] | Containment,
    grace: float | None = None,
) -> TreeProcess: ...
@overload  # no tree, or not known to be one
async def create_subprocess_shell(
    cmd: str | bytes, stdin: _FILE = None, stdout: _FILE = None, stderr: _FILE = None, limit: int = 65536, *,
    universal_newlines: Literal[False] = False, shell: Literal[True] = True, bufsize: Literal[0] = 0,
    encoding: None = None, errors: None = None, text: Literal[False] | None = None,
    executable: _Path | None = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
    cwd: _Path | None = None, env: _ENV | None = None, startupinfo: Any = None, creationflags: int = 0,
    restore_signals: bool = True, start_new_session: bool = False, pass_fds: Collection[int] = (),
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> Process: ...

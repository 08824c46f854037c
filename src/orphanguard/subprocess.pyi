"""What type checkers and editors see of subprocess.py: typeshed's overloads, with four parameters more.

`make lint` (stubtest) compares this stub with the module, and tests/api/test_signatures.py compares the defaults.
Needs typeshed's stub of subprocess.
"""

import subprocess as _standard
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from subprocess import (
    DEVNULL as DEVNULL,
)
from subprocess import (
    PIPE as PIPE,
)
from subprocess import (
    STDOUT as STDOUT,
)
from subprocess import (
    CalledProcessError as CalledProcessError,
)
from subprocess import (
    CompletedProcess as CompletedProcess,
)
from subprocess import (
    SubprocessError as SubprocessError,
)
from subprocess import (
    TimeoutExpired as TimeoutExpired,
)
from subprocess import (
    list2cmdline as list2cmdline,
)
from typing import IO, Any, AnyStr, Literal, TypeAlias, overload

from _typeshed import ReadableBuffer, StrOrBytesPath

from ._core.containment import Containment, Tree
from ._core.guard import Guard

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "run",
]

_Path: TypeAlias = StrOrBytesPath
_CMD: TypeAlias = _Path | Sequence[_Path]
_ENV: TypeAlias = Mapping[bytes, _Path] | Mapping[str, _Path]
_FILE: TypeAlias = int | IO[Any] | None
_Hook: TypeAlias = Callable[[], object]

# fmt: off

class Popen(_standard.Popen[AnyStr]):
    @property
    def command_pid(self) -> int | None: ...
    @property
    def containment(self) -> Containment | None: ...
    @property
    def guard(self) -> Guard | None: ...
    @overload  # text is True
    def __init__(
        self: Popen[str], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        universal_newlines: Literal[True] | None = None,
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (), *,
        text: Literal[True], encoding: str | None = None, errors: str | None = None,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...
    @overload  # encoding is a str
    def __init__(
        self: Popen[str], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        universal_newlines: bool | None = None,
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (), *,
        text: bool | None = None, encoding: str, errors: str | None = None,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...
    @overload  # errors is a str
    def __init__(
        self: Popen[str], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        universal_newlines: bool | None = None,
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (), *,
        text: bool | None = None, encoding: str | None = None, errors: str,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...
    @overload  # universal_newlines is True
    def __init__(
        self: Popen[str], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        *, universal_newlines: Literal[True],
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (),
        text: Literal[True] | None = None, encoding: str | None = None, errors: str | None = None,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...
    @overload  # none of these
    def __init__(
        self: Popen[bytes], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        universal_newlines: Literal[False] | None = None,
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (), *,
        text: Literal[False] | None = None, encoding: None = None, errors: None = None,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...
    @overload  # not known
    def __init__(
        self: Popen[Any], args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None,
        stdout: _FILE = None, stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True,
        shell: bool = False, cwd: _Path | None = None, env: _ENV | None = None,
        universal_newlines: bool | None = None,
        startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True,
        start_new_session: bool = False, pass_fds: Collection[int] = (), *,
        text: bool | None = None, encoding: str | None = None, errors: str | None = None,
        user: str | int | None = None, group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None, umask: int = -1, pipesize: int = -1,
        process_group: int | None = None,
        death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
    ) -> None: ...

def getoutput(cmd: _CMD, *, encoding: str | None = None, errors: str | None = None) -> str: ...
def getstatusoutput(cmd: _CMD, *, encoding: str | None = None, errors: str | None = None) -> tuple[int, str]: ...

@overload  # text is True
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: Literal[True] | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: Literal[True], encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: str | None = None, capture_output: bool = False, timeout: float | None = None, check: bool = False,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> CompletedProcess[str]: ...
@overload  # encoding is a str
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: str | None = None, capture_output: bool = False, timeout: float | None = None, check: bool = False,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> CompletedProcess[str]: ...
@overload  # errors is a str
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: str | None = None, capture_output: bool = False, timeout: float | None = None, check: bool = False,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> CompletedProcess[str]: ...
@overload  # universal_newlines is True
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    *, universal_newlines: Literal[True],
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (),
    text: Literal[True] | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: str | None = None, capture_output: bool = False, timeout: float | None = None, check: bool = False,
    death_signal: int | str | None = None, guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> CompletedProcess[str]: ...
@overload  # none of these
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: Literal[False] | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: Literal[False] | None = None, encoding: None = None, errors: None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: ReadableBuffer | None = None, capture_output: bool = False, timeout: float | None = None,
    check: bool = False, death_signal: int | str | None = None, guard: bool = True, tree: Tree = False,
    grace: float | None = None,
) -> CompletedProcess[bytes]: ...
@overload  # not known
def run(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    input: ReadableBuffer | str | None = None, capture_output: bool = False, timeout: float | None = None,
    check: bool = False, death_signal: int | str | None = None, guard: bool = True, tree: Tree = False,
    grace: float | None = None,
) -> CompletedProcess[Any]: ...

def call(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, death_signal: int | str | None = None, guard: bool = True, tree: Tree = False,
    grace: float | None = None,
) -> int: ...
def check_call(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stdout: _FILE = None,
    stderr: _FILE = None, preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False,
    cwd: _Path | None = None, env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, death_signal: int | str | None = None, guard: bool = True, tree: Tree = False,
    grace: float | None = None,
) -> int: ...

@overload  # text is True
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    universal_newlines: Literal[True] | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: Literal[True], encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: str | None = None, death_signal: int | str | None = None, guard: bool = True,
    tree: Tree = False, grace: float | None = None,
) -> str: ...
@overload  # encoding is a str
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: str | None = None, death_signal: int | str | None = None, guard: bool = True,
    tree: Tree = False, grace: float | None = None,
) -> str: ...
@overload  # errors is a str
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: str | None = None, death_signal: int | str | None = None, guard: bool = True,
    tree: Tree = False, grace: float | None = None,
) -> str: ...
@overload  # universal_newlines is True
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    *, universal_newlines: Literal[True],
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (),
    text: Literal[True] | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: str | None = None, death_signal: int | str | None = None, guard: bool = True,
    tree: Tree = False, grace: float | None = None,
) -> str: ...
@overload  # none of these
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    universal_newlines: Literal[False] | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: Literal[False] | None = None, encoding: None = None, errors: None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: ReadableBuffer | None = None, death_signal: int | str | None = None,
    guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> bytes: ...
@overload  # not known
def check_output(
    args: _CMD, bufsize: int = -1, executable: _Path | None = None, stdin: _FILE = None, stderr: _FILE = None,
    preexec_fn: _Hook | None = None, close_fds: bool = True, shell: bool = False, cwd: _Path | None = None,
    env: _ENV | None = None,
    universal_newlines: bool | None = None,
    startupinfo: Any = None, creationflags: int = 0, restore_signals: bool = True, start_new_session: bool = False,
    pass_fds: Collection[int] = (), *,
    text: bool | None = None, encoding: str | None = None, errors: str | None = None,
    user: str | int | None = None, group: str | int | None = None, extra_groups: Iterable[str | int] | None = None,
    umask: int = -1, pipesize: int = -1, process_group: int | None = None,
    timeout: float | None = None, input: ReadableBuffer | str | None = None, death_signal: int | str | None = None,
    guard: bool = True, tree: Tree = False, grace: float | None = None,
) -> Any: ...

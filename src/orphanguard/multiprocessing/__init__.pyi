"""What type checkers and editors see of this package: all of multiprocessing, with the four guarded names in it.

`make lint` (stubtest) compares this stub with the package. Needs typeshed's stubs of multiprocessing.
"""

from collections.abc import Callable, Iterable
from multiprocessing import (
    Array as Array,
)
from multiprocessing import (
    AuthenticationError as AuthenticationError,
)
from multiprocessing import (
    Barrier as Barrier,
)
from multiprocessing import (
    BoundedSemaphore as BoundedSemaphore,
)
from multiprocessing import (
    BufferTooShort as BufferTooShort,
)
from multiprocessing import (
    Condition as Condition,
)
from multiprocessing import (
    Event as Event,
)
from multiprocessing import (
    JoinableQueue as JoinableQueue,
)
from multiprocessing import (
    Lock as Lock,
)
from multiprocessing import (
    Pipe as Pipe,
)
from multiprocessing import (
    ProcessError as ProcessError,
)
from multiprocessing import (
    Queue as Queue,
)
from multiprocessing import (
    RawArray as RawArray,
)
from multiprocessing import (
    RawValue as RawValue,
)
from multiprocessing import (
    RLock as RLock,
)
from multiprocessing import (
    Semaphore as Semaphore,
)
from multiprocessing import (
    SimpleQueue as SimpleQueue,
)
from multiprocessing import (
    TimeoutError as TimeoutError,
)
from multiprocessing import (
    Value as Value,
)
from multiprocessing import (
    active_children as active_children,
)
from multiprocessing import (
    allow_connection_pickling as allow_connection_pickling,
)
from multiprocessing import (
    connection as connection,
)
from multiprocessing import (
    cpu_count as cpu_count,
)
from multiprocessing import (
    current_process as current_process,
)
from multiprocessing import (
    freeze_support as freeze_support,
)
from multiprocessing import (
    get_all_start_methods as get_all_start_methods,
)
from multiprocessing import (
    get_logger as get_logger,
)
from multiprocessing import (
    get_start_method as get_start_method,
)
from multiprocessing import (
    log_to_stderr as log_to_stderr,
)
from multiprocessing import (
    parent_process as parent_process,
)
from multiprocessing import (
    queues as queues,
)
from multiprocessing import (
    reducer as reducer,
)
from multiprocessing import (
    reduction as reduction,
)
from multiprocessing import (
    set_executable as set_executable,
)
from multiprocessing import (
    set_forkserver_preload as set_forkserver_preload,
)
from multiprocessing import (
    set_start_method as set_start_method,
)
from multiprocessing import (
    shared_memory as shared_memory,
)
from multiprocessing import (
    sharedctypes as sharedctypes,
)
from multiprocessing import (
    synchronize as synchronize,
)
from multiprocessing.pool import Pool as _Pool
from typing import Any

from . import context as context
from . import managers as managers
from . import pool as pool
from ._methods import Process as Process
from ._methods import get_context as get_context
from .managers import SyncManager as _SyncManager

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

def Pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> _Pool: ...
def Manager() -> _SyncManager: ...

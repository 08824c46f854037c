"""The ways to start ``count`` children that several strategies share."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_kept: list[Any] = []  #: a pool ends when its object is collected


def processes(context: Any, count: int, target: Any, *args: Any, **keywords: Any) -> list[Any]:
    """Started processes of a context of multiprocessing's kind."""
    started = []
    for _ in range(count):
        process = context.Process(target=target, args=args, **keywords)
        process.start()
        started.append(process)
    return started


def programs(count: int, command: list[str], popen: Any = subprocess.Popen, **keywords: Any) -> list[Any]:
    return [popen(command, **keywords) for _ in range(count)]


def busy_workers(pool: Any, submit: Callable[..., Any], count: int, target: Any) -> list[Any]:
    """Gives each worker of a pool a task that does not end. A pool hands out no handles of its workers."""
    _kept.append(pool)
    for _ in range(count):
        submit(target)
    return []

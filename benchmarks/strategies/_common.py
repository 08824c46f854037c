"""What several strategies share."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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

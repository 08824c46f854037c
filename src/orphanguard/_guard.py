"""What ties a child to its parent, as data."""

from __future__ import annotations

import os
import signal as _signals
from dataclasses import dataclass
from typing import Literal

from . import _native

Layer = Literal["lifeline", "pdeathsig", "supervisor"]


@dataclass(frozen=True)
class Guard:
    """What is armed in a child.

    ``layers``: the kernel mechanisms. ``"lifeline"`` (F_SETSIG on a pipe, fcntl(2)) ends the child when the
    parent *process* is gone. ``"pdeathsig"`` (PR_SET_PDEATHSIG, prctl(2)) does so when the parent's
    *forking thread* ends. ``"supervisor"`` is orphanguard-run above the child (``tree=``): it watches a pidfd of the
    parent, and ends the child's whole tree.

    ``scope``: whose end it is that kills the child: ``"process"``, or ``"thread"`` where nothing but
    PDEATHSIG is armed and the forking thread is not known to be the parent's main thread.

    ``signal``: the signal that the kernel, or the supervisor, sends then.

    ``defeated_by``: what is known to undo it, in words.
    """

    layers: tuple[Layer, ...]
    scope: Literal["process", "thread"] = "process"
    signal: int = 9
    defeated_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"guarded by {' + '.join(self.layers)}" + (" (thread-scoped)" if self.scope == "thread" else "")


_NOT_FOR_ROOT = "the child becomes root in all its user ids (a setuid-root program)"
_CLOSED = "the parent closes all its fds (daemonises) or executes another program while it lives: mostly an early death"
_UNRUN_FORK = "the parent dies while an elder fork of another thread has not run yet: a program survives"
_LIFELINE_ALONE = (
    _NOT_FOR_ROOT,
    _UNRUN_FORK,
    "the child is the init of a pid namespace",
    _CLOSED,
)
_PDEATHSIG_ALONE = (
    "the child changes its effective uid or gid, or executes a setuid program or one with capabilities",
    "the parent drops to another uid",
)
_OWN_DESCRIPTION = ("the child closes all its fds",)


def started_child(*, pdeathsig: bool, signal: int = 9) -> Guard:
    """Of a child that this process has armed, on a description that this process keeps."""
    if pdeathsig:
        return Guard(("lifeline", "pdeathsig"), signal=signal, defeated_by=(_NOT_FOR_ROOT, _CLOSED))
    return Guard(("lifeline",), signal=signal, defeated_by=_LIFELINE_ALONE)


def supervised_child(containment: str, signal: int) -> Guard:
    """Of a child under a supervisor."""
    killed = "the supervisor is killed: the child dies, what it has started survives"
    root = "a descendant becomes root while the supervisor is not"
    defeated_by = {"subreaper": (killed, root), "cgroup": (killed,), "pidns": ()}
    return Guard(("supervisor",), signal=signal, defeated_by=defeated_by[containment])


def current_guard() -> Guard | None:
    """Of this process itself, as the kernel has it; None if nothing is armed.

    PDEATHSIG belongs to a thread of this process as well, and each thread can only read its own. The main thread's
    lasts as long as the process; that of any other ends with it. So only the main thread reports this layer.
    """
    if _native.supervised is not None and _native.supervised[0] == os.getpid():
        return supervised_child(*_native.supervised[1:])
    origin = _native.origin()
    pdeathsig = _native.pdeathsig() if _native.is_main_thread() else 0
    if origin.armed >= 0:
        if origin.held_by_parent:
            return started_child(pdeathsig=pdeathsig == origin.armed_signal, signal=origin.armed_signal)
        layers: tuple[Layer, ...] = ("lifeline", "pdeathsig") if pdeathsig else ("lifeline",)
        return Guard(layers, signal=origin.armed_signal, defeated_by=_OWN_DESCRIPTION + _LIFELINE_ALONE)
    if not pdeathsig:
        return None
    by_main_thread = origin.by_main_thread and origin.parent == os.getppid()
    return Guard(
        ("pdeathsig",),
        scope="process" if by_main_thread else "thread",
        signal=pdeathsig,
        defeated_by=_PDEATHSIG_ALONE,
    )


def signal_number(signal: int) -> int:
    """ValueError if there is no such signal."""
    try:
        number = int(_signals.Signals(signal))
    except ValueError:
        number = int(signal)
        if not _signals.SIGRTMIN <= number <= _signals.SIGRTMAX:
            raise ValueError(f"no such signal: {signal!r}") from None
    return number

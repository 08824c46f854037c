"""What ties a child to its parent, as data: `Guard`, and the rows of what defeats it.

A `Guard` names only layers that are armed. `current_guard` asks the kernel; `started_child` and `supervised_child`
repeat what the start of the child has reported. Needs `arming`, and `supervised` in a worker under a supervisor.
"""

from __future__ import annotations

import operator
import os
import signal as _signals
from dataclasses import dataclass
from typing import Literal

from . import arming, supervised
from .containment import CONTAINMENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .containment import Containment

Layer = Literal["lifeline", "pdeathsig", "supervisor"]


@dataclass(frozen=True)
class Guard:
    """What is armed in a child.

    ``layers``: the mechanisms. ``"lifeline"`` (F_SETSIG on a pipe, fcntl(2)) ends the child when the parent *process*
    is gone. ``"pdeathsig"`` (PR_SET_PDEATHSIG, prctl(2)) ends the child when the *forking thread* of the parent ends.
    ``"supervisor"`` is the program orphanguard-run above the child (``tree=``): it watches a pidfd of the parent, and
    ends the child's whole tree.

    ``scope``: what must end to kill the child: ``"process"``, the parent; or ``"thread"``, the forking thread, where
    nothing but PDEATHSIG is armed and the forking thread is not known to be the parent's main thread.

    ``signal``: the signal that the kernel or the supervisor sends then.

    ``defeated_by``: what is known to undo the guard, one sentence for each row.
    """

    layers: tuple[Layer, ...]
    scope: Literal["process", "thread"] = "process"
    signal: int = 9
    defeated_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"guarded by {' + '.join(self.layers)}" + (" (thread-scoped)" if self.scope == "thread" else "")


_OTHER_UIDS = (
    "the child takes other real and saved user ids by itself (sudo, setpriv, its own setuid()): user= does it rightly, "
    "and so does die_with_parent(), called after the change"
)
_CLOSED = "the parent closes all its fds (daemonises) or executes another program while it lives: an early death"
_INIT = "the child is the init of a pid namespace"
#: The row of a lifeline without a tether (csrc/shim/tether.c).
FLAT = (
    "the lifeline hangs on no tether (Unix sockets are refused, or too many fds are in flight; orphanguard doctor says "
    "why): if this process, or a copy of it that has outlived it, closes its fds one by one, the lowest first, the "
    "child survives"
)
_PDEATHSIG_ALONE = (
    "the child changes its effective uid or gid, or executes a setuid program or one with capabilities",
    "the parent drops to another uid",
)
_OWN_DESCRIPTION = ("the child closes all its fds",)


def started_child(*, pdeathsig: bool, signal: int = 9, flat: int = 0) -> Guard:
    """Returns the guard of a child that this process has armed. ``flat``: `orphanguard._core.child.Child.flat`."""
    return _on_lifeline(pdeathsig, signal, flat)


def _on_lifeline(pdeathsig: bool, signal: int, flat: int, *defeated_by: str) -> Guard:
    layers: tuple[Layer, ...] = ("lifeline", "pdeathsig") if pdeathsig else ("lifeline",)
    # The signals of global root reach every process (sigio_perm() of fs/fcntl.c).
    uids = () if arming.is_global_root() else (_OTHER_UIDS,)
    alone = () if pdeathsig else (FLAT, _INIT) if flat else (_INIT,)
    return Guard(layers, signal=signal, defeated_by=(*defeated_by, *uids, *alone, _CLOSED))


def supervised_child(containment: Containment, signal: int) -> Guard:
    """Returns the guard of a child under a supervisor."""
    return Guard(("supervisor",), signal=signal, defeated_by=CONTAINMENTS[containment][1])


def current_guard() -> Guard | None:
    """Returns the guard of this process itself, as the kernel has it; None if nothing is armed.

    PDEATHSIG belongs to one thread of this process too, and a thread can read only its own. The PDEATHSIG of the main
    thread lasts as long as the process; that of another thread ends with the thread. So only the main thread reports
    this layer.
    """
    if (above := supervised.current()) is not None:
        return supervised_child(above.containment, above.signal)
    origin = arming.origin()
    pdeathsig = arming.pdeathsig() if arming.is_main_thread() else 0
    if arming.armed_still():
        own = () if origin.held_by_parent else _OWN_DESCRIPTION
        return _on_lifeline(pdeathsig == origin.armed_signal, origin.armed_signal, origin.flat, *own)
    if not pdeathsig:
        return None
    return Guard(
        ("pdeathsig",),
        scope="process" if _forked_by_main_thread(origin) else "thread",
        signal=pdeathsig,
        defeated_by=_PDEATHSIG_ALONE,
    )


def _forked_by_main_thread(origin: arming.Origin) -> bool:
    """Whether PDEATHSIG waits for the end of the parent's main thread, which lasts as long as the parent."""
    parent = os.getppid()  # 0 where the parent is outside our pid namespace
    if origin.by_main_thread and parent in (origin.parent, 0):
        return True
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return False  # /proc is of another pid namespace
        # The kernel lists the children of each thread (CONFIG_PROC_CHILDREN); proc(5).
        with open(f"/proc/{parent}/task/{parent}/children") as children:
            return str(os.getpid()) in children.read().split()
    except OSError:
        return False


def signal_number(signal: int | str) -> int:
    """Returns the number of a signal.

    ``signal``: its number, or its name as ``orphanguard run --signal`` takes it: ``"SIGTERM"``, ``"TERM"``, ``"term"``.

    Raises ValueError if there is no such signal, and TypeError for what is neither a number nor a name.
    """
    if isinstance(signal, str):
        name = signal.upper().removeprefix("SIG")
        if f"SIG{name}" in _signals.Signals.__members__:
            return int(_signals.Signals[f"SIG{name}"])
    elif isinstance(signal, bool) or not hasattr(signal, "__index__"):
        raise TypeError(f"a signal is a number or a name, not {signal!r}")
    else:
        number = operator.index(signal)
        if number in _signals.valid_signals():
            return number
    raise ValueError(f"no such signal: {signal!r}")

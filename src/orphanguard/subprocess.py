"""``subprocess`` with guarded programs: ``from orphanguard import subprocess`` is the whole migration.

`Popen`, `run`, `call` and the other functions that start programs are orphanguard's. All other public names are the
standard module's, which is not patched. Each program is guarded as `Popen` says.

Needs the seam in _stdlib/subprocess.py, which runs the standard library's own functions.
"""

from __future__ import annotations

import subprocess as _standard

from ._core import gevent as _gevent
from ._core.program import Plan
from ._core.signature import shows
from ._stdlib import subprocess as _seam

TYPE_CHECKING = False  # importing typing would cost 2 ms
if TYPE_CHECKING:
    from typing import Any, AnyStr

    from ._core.child import Child
    from ._core.containment import Containment, Tree
    from ._core.fds import OwnFd
    from ._core.guard import Guard

if not TYPE_CHECKING:
    AnyStr = object  # any type: Popen[...] is for type checkers
    # gevent may have replaced functions of the standard module already
    _standard = _gevent.Unpatched(_standard)

__all__ = ["Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"]
__all__ += [name for name in _standard.__all__ if name not in __all__]


class Popen(_seam.Popen[AnyStr]):
    """`subprocess.Popen` whose program dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `subprocess.Popen`. In addition:

    ``death_signal``: what the kernel sends when this process is gone, a number or a name (``"SIGTERM"``, ``"TERM"``).
    Any signal but SIGKILL is only a signal, not a death.
    ``guard``: False starts the program unguarded.
    ``tree``: also ends everything that the program starts, setsid and double forks included: when this process is gone,
    when the program ends, and on `kill`. ``True`` or ``"subreaper"`` needs no privilege; ``"cgroup"`` and ``"pidns"``
    contain better, on hosts that allow it.
    ``grace``: seconds between the first signal to the whole tree (SIGTERM, or ``death_signal``) and SIGKILL. It holds
    even when this process is gone. Implies ``tree=True``.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended, the kernel kills the program. While
    this process lives, orphanguard does not kill the program, whichever thread started it, unless this process closes
    all its fds or executes another program. A program escapes if it becomes root in all its user ids (``sudo``) under a
    parent that is not root; docs/promise.md lists what else escapes. Processes that the program starts are covered only
    with ``tree``.

    With ``tree`` a supervisor stands between this process and the program: ``pid`` is the supervisor's, ``command_pid``
    the program's. The supervisor is in the program's session and process group, and ends as the program has ended.
    `kill` and `terminate` go to the whole tree, and with a ``grace`` `terminate` starts the grace; `send_signal` goes
    to the program. If a process of the tree outlives SIGKILL for five seconds, it is named on stderr and ``returncode``
    is 125. If other code kills the supervisor, the program dies and what it has started lives on, except under
    ``"pidns"``.

    Signals go by pidfd, never to another process that got the pid. ``wait(timeout)`` sleeps until the program ends; it
    does not poll. If other code reaps the program, ``returncode`` is right on Linux 6.15 and later; on older kernels
    it is 255, with a `StatusLostWarning`.

    Raises `GuardUnavailable` (an OSError) if the kernel can't keep the promise; ValueError if there is no such
    ``death_signal``, ``tree`` or ``grace``, or if ``tree`` or ``grace`` comes with ``guard=False``; TypeError if
    ``death_signal`` or ``grace`` has a wrong type. A failed start leaves no process, zombie or fd behind.
    """

    _held_while_it_runs = False  # nobody but the user holds a Popen: see _core/waiting.py

    @shows(_standard.Popen.__init__)
    def __init__(
        self,
        *args: Any,
        death_signal: int | str | None = None,
        guard: bool = True,
        tree: Tree = False,
        grace: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._plan = Plan(death_signal, guard, tree, grace)
        # Here and not in the seam: after its return a signal handler may raise, and the program be nobody's.
        try:
            self._start(*args, **kwargs)
        except BaseException:
            self._take_back()
            raise
        self._pipes = ()

    @property
    def command_pid(self) -> int | None:
        """The program's own pid under ``tree=``, where ``pid`` is the supervisor's. None without a supervisor."""
        supervisor = None if self._child is None else self._child.supervisor
        return None if supervisor is None else supervisor.command_pid

    @property
    def containment(self) -> Containment | None:
        """What holds the tree together: ``"subreaper"``, ``"cgroup"`` or ``"pidns"``. None without a supervisor."""
        supervisor = None if self._child is None else self._child.supervisor
        return None if supervisor is None else supervisor.containment

    @property
    def guard(self) -> Guard | None:
        """What is armed in the program; None if it was started with ``guard=False``."""
        from ._core.guard import started_child, supervised_child

        plan = self._plan
        if plan.tree is not None:
            return supervised_child(plan.tree.containment, plan.tree.signal)
        if not plan.guarded:
            return None
        flat = self._child.flat if self._child is not None else 0
        return started_child(pdeathsig=plan.pdeathsig, signal=plan.signal, flat=flat)

    def send_signal(self, sig: int) -> None:
        """Sends ``sig`` to the program, by its pidfd. Does nothing if the program has been reaped."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.send_signal(sig)

    def terminate(self) -> None:
        """Sends SIGTERM to the program, or under ``tree=`` to the whole tree.

        With ``grace=`` it ends the tree instead: the whole tree gets the death signal, and SIGKILL when the grace is
        over.
        """
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """Sends SIGKILL to the program, or under ``tree=`` to the whole tree."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.kill()

    def __repr__(self) -> str:
        text = super().__repr__()
        runs = self._child is not None and self.returncode is None
        return text[:-1] + " guarded>" if runs and self._plan.guarded else text

    # For _core/waiting.py:

    def _started_child(self) -> Child:
        if self._child is None:
            raise ValueError("process not started: this Popen() has failed")
        if self._child.inherited:
            raise ValueError(f"can only wait for a child process, not {self!r}")
        return self._child

    def _seen_finished(self) -> None:
        if self.returncode is None and self._child is not None:
            self.returncode = self._child.returncode

    def _dup_pidfd(self) -> OwnFd:
        """A copy of the pidfd, for an event loop to watch: this object closes its own when the program is reaped."""
        from ._core.fds import duplicate

        assert self._child is not None
        return duplicate(self._child.pidfd)


# The standard library's functions. Each finds the name that it looks up in this module, at each call: so a Popen that a
# test has put here is used.
call = _seam.borrowed(_standard.call, "Popen", globals())
check_call = _seam.borrowed(_standard.check_call, "call", globals())
run = _seam.borrowed(_standard.run, "Popen", globals())
check_output = _seam.borrowed(_standard.check_output, "run", globals())
getstatusoutput = _seam.borrowed(_standard.getstatusoutput, "check_output", globals())
getoutput = _seam.borrowed(_standard.getoutput, "getstatusoutput", globals())

shows(Popen.__init__, _standard.call)(call)
shows(Popen.__init__, _standard.call)(check_call)
shows(Popen.__init__, _standard.run)(run)
shows(Popen.__init__, _standard.run, without=("stdout", "capture_output", "check"))(check_output)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # list2cmdline and others are public, but not in __all__
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""``subprocess`` with guarded programs: ``from orphanguard import subprocess`` is the whole migration.

`Popen` and what is built on it are ours; the other public names are the standard module's.
"""

from __future__ import annotations

import subprocess as _standard
from typing import TYPE_CHECKING, Any, AnyStr

from ._core import gevent as _gevent
from ._core.program import Plan
from ._core.signature import shows
from ._stdlib import subprocess as _seam

if TYPE_CHECKING:
    from ._core.child import Child
    from ._core.fds import OwnFd
    from ._core.guard import Containment, Guard, Tree

if not TYPE_CHECKING:  # gevent may have put its own functions in the place of the standard library's by then
    _standard = _gevent.Unpatched(_standard)

__all__ = ["Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"]
__all__ += [name for name in _standard.__all__ if name not in __all__]


class Popen(_seam.Popen[AnyStr]):
    """`subprocess.Popen` whose program dies with this process, and not before.

    Arguments, attributes, methods and exceptions are those of `subprocess.Popen`, and:

    ``death_signal``: what the kernel sends when this process is gone, a number or a name (``"SIGTERM"``, ``"TERM"``).
    Another one than SIGKILL is only a signal, not a death.
    ``guard``: False starts the program unguarded.
    ``tree``: ends everything that the program starts as well, setsid and double forks included: when this process
    is gone, when the program ends, and on `kill`. ``True`` or ``"subreaper"`` needs nothing and changes nothing that
    the program can see; ``"cgroup"`` and ``"pidns"`` contain better, on hosts that allow it.
    ``grace``: seconds between the death signal to the tree, SIGTERM unless ``death_signal`` says otherwise, and
    SIGKILL, although this process is gone. Implies ``tree=True``.

    Guaranteed on Linux 5.10 and later: when this process is gone, however it ended, the kernel kills the program;
    while this process lives, nothing of ours kills it, whichever thread started it, unless this process closes
    all its fds or executes another program. A program that becomes root in all its user ids under a parent that
    is not (``sudo``) escapes; docs/design.md lists what else does. What the program itself starts is not covered
    without ``tree``.

    With ``tree`` there is a supervisor between the two: ``pid`` is the supervisor's, ``command_pid`` the program's,
    ``containment`` how the tree is held together. The supervisor is in the program's session and process group, and
    ends as the program did. `kill` is for the whole tree and so is `terminate`, which with a ``grace`` ends it in
    good order; `send_signal` is for the program. What outlives SIGKILL for five seconds is named on stderr, and
    ``returncode`` is 125. Somebody who kills the supervisor itself ends the program alone, except under ``"pidns"``.

    Signals go to the program by its pidfd, never to another process that got its pid. ``wait(timeout)`` sleeps
    until the program ends; it does not poll. ``returncode`` is right even if somebody else reaped the program, on
    Linux 6.15 and later; before that it is 255 then, with a `StatusLostWarning`.

    Raises `GuardUnavailable` (an OSError) if the kernel can't keep the promise, and ValueError if there is no
    such ``death_signal``, ``tree`` or ``grace``. A failed start leaves nothing behind.
    """

    _held_while_it_runs = False  # by nobody else: see orphanguard._core.waiting

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
        super().__init__(*args, **kwargs)

    @property
    def command_pid(self) -> int | None:
        """The program's own pid, under a supervisor (``tree=``), whose pid is ``pid``."""
        supervisor = None if self._child is None else self._child.supervisor
        return None if supervisor is None else supervisor.command_pid

    @property
    def containment(self) -> Containment | None:
        """How the tree is held together: ``"subreaper"``, ``"cgroup"`` or ``"pidns"``."""
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
        """Sends ``sig`` to the program, by its pidfd. Does nothing if it has been reaped."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.send_signal(sig)

    def terminate(self) -> None:
        """Sends SIGTERM to the program; to the whole ``tree``, which ends if there is a ``grace``."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """Sends SIGKILL to the program; to the whole ``tree``."""
        self.poll()
        if self.returncode is None and self._child is not None:
            self._child.kill()

    def __repr__(self) -> str:
        text = super().__repr__()
        runs = self._child is not None and self.returncode is None
        return text[:-1] + " guarded>" if runs and self._plan.guarded else text

    # For orphanguard.wait:

    def _started_child(self) -> Child:
        if self._child is None:
            raise ValueError("process not started: this Popen() has failed")
        if self._child.inherited:
            raise ValueError(f"can only wait for a child process, not {self!r}")
        return self._child

    def _seen_finished(self) -> None:
        if self.returncode is None and self._child is not None:
            self.returncode = self._child.returncode

    # For an event loop:

    def _dup_pidfd(self) -> OwnFd:
        from ._core.fds import duplicate

        assert self._child is not None
        return duplicate(self._child.pidfd)


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
    if name.startswith("_"):  # list2cmdline and others are public without being in __all__
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted(__all__)

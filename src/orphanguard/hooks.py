"""Guards for children that somebody else starts: `preexec_fn`, `PreexecFn`, `die_with_parent`.

They run in the child. What the kernel can do there depends on who forked it: see each one's guarantee.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal as _signal
import sys
from typing import Any, NoReturn

from . import _native
from ._errors import GuardUnavailable
from ._guard import Guard, current_guard, signal_number

__all__ = ["PreexecFn", "die_with_parent", "preexec_fn"]


def preexec_fn() -> None:
    """``subprocess.Popen(command, preexec_fn=orphanguard.preexec_fn)``, from the main thread.

    Arms PR_SET_PDEATHSIG with SIGKILL, after ``user=`` and ``group=`` have been applied (a change of ids
    would clear it, prctl(2)), and ends the child on the spot if the parent is gone already.

    PDEATHSIG follows the *thread* that forked. In a child of another thread the program is therefore not
    started: the reason goes to stderr and ``Popen`` raises `subprocess.SubprocessError`. There,
    `PreexecFn` does it.
    """
    origin = _native.origin()
    if not origin.parent:
        refuse("preexec_fn", "this process was not forked by one that had imported orphanguard. Use die_with_parent().")
    if not origin.by_main_thread:
        refuse(
            "preexec_fn",
            "this child was forked by a thread that is not its parent's main thread, and the kernel would kill it "
            "when that thread ends. Use preexec_fn=orphanguard.PreexecFn(), made anew for each Popen.",
        )
    try:
        _native.arm_pdeathsig(_signal.SIGKILL, origin.parent)
    except OSError as error:
        refuse("preexec_fn", str(error))


class PreexecFn:
    """``subprocess.Popen(command, preexec_fn=orphanguard.PreexecFn())``, from any thread.

    Made in the parent, for one child. That one is armed on a lifeline that this process holds, so it dies
    with the parent *process*, whichever thread started it and whatever fds it closes; PDEATHSIG is armed
    as well if the main thread forks. After ``user=`` and ``group=`` have been applied.

    Used for a second child, or in a child of another process, the program is not started: the reason goes
    to stderr and ``Popen`` raises `subprocess.SubprocessError`. Costs the parent one fd until the child has
    been reaped (given back when the next child is started).

    Raises `GuardUnavailable` if the kernel can't keep the promise, and OSError when resources run out.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._state = mmap.mmap(-1, 1)  # shared with the children that are forked
        self._held = _native.child()
        _native.lifeline_open(self._held, pdeathsig=True, for_hook=True)

    def __call__(self) -> None:
        """In the child. Not for you to call."""
        origin = _native.origin()
        if self._owner == os.getpid() or origin.parent != self._owner:
            refuse("PreexecFn", f"made in process {self._owner}, it is for a child that this very process forks.")
        if not _native.claim(self._state):
            refuse("PreexecFn", "already used for another child. Make a new one for each Popen.")
        try:
            _native.arm(self._held.lifeline, pdeathsig=origin.by_main_thread)
        except OSError as error:
            refuse("PreexecFn", str(error))


def die_with_parent(signal: int = _signal.SIGKILL, parent_pid: int | None = None) -> Guard:
    """Call it in a running child: the kernel will send it ``signal`` when its parent is gone.

    For ``initializer=`` of executors and pools, worker start-up hooks, scripts. Returns what is armed.

    ``signal``: SIGKILL, or another one, which is then only a signal and no promised death.
    ``parent_pid``: the pid that the parent had when it started this child (``os.getpid()`` there, for
    instance in ``initargs``). With it the call also notices that the parent was gone before, and ends this
    process by ``signal``.

    - In a child that was *forked* by a process that had used orphanguard before (``import orphanguard;
      orphanguard.die_with_parent`` is use enough): by a lifeline, whose end is that of the parent
      *process*. Lost if this child closes all its fds.
    - Elsewhere (after an exec: spawned workers, scripts): by PR_SET_PDEATHSIG alone. That follows the
      *thread* that started this process, and kills too early if that thread ends before the parent does;
      the returned guard then has ``scope="thread"``. Start such children from the parent's main thread,
      or by `orphanguard.Process` or `PreexecFn`, which need no such care. To be called in the main thread of
      this process: in another one PDEATHSIG would end with that thread, and `GuardUnavailable` says so.
    - In a child of ``multiprocessing``'s fork server: not at all, since its parent in the kernel's sense is
      the server: `GuardUnavailable`. Use ``orphanguard.get_context("forkserver")``.
    - In a child that orphanguard started: nothing to do, it stays armed with SIGKILL.

    Raises ValueError for a signal that does not exist, and `GuardUnavailable` where this can't work.
    """
    sig = signal_number(signal)
    guard = current_guard()
    if guard is not None and guard.layers != ("pdeathsig",):
        return guard
    origin = _native.origin()
    now = os.getppid()  # 0 where the parent is outside our pid namespace
    expected = parent_pid or _forkserver_client() or origin.parent
    if now and expected and expected != now:
        if _alive(expected):
            raise GuardUnavailable(
                errno.EINVAL,
                f"process {expected} did not start this one, {now} did (a fork server?), so the kernel tells this "
                'one nothing of its end; use orphanguard.get_context("forkserver") there',
            )
        _end_by(sig)
    if origin.lifeline >= 0:
        _native.arm_inherited(sig)
        if sig == _signal.SIGKILL and origin.by_main_thread and _native.is_main_thread():
            _native.arm_pdeathsig(sig, origin.parent)
    elif not _native.is_main_thread():
        raise GuardUnavailable(
            errno.EINVAL,
            "PR_SET_PDEATHSIG would end with the thread that calls it, and this is not this process's main thread; "
            "call die_with_parent() in the main thread",
        )
    else:
        _native.arm_pdeathsig(sig, expected or now)
    guard = current_guard()
    assert guard is not None
    return guard


# multiprocessing's idea of the parent when this process was forked. A fork server has none, a child of Process
# that forks by os.fork() leaves its own: so what is new since the fork was set for this very process.
_inherited_parent: object = None


def _multiprocessing_parent() -> Any:
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.parent_process()


def _remember_parent() -> None:
    global _inherited_parent
    _inherited_parent = _multiprocessing_parent()


os.register_at_fork(after_in_child=_remember_parent)


def _forkserver_client() -> int | None:
    """In a child of multiprocessing: the process that asked for it, which a fork server's child's parent is not."""
    parent = _multiprocessing_parent()
    return None if parent is None or parent is _inherited_parent else parent.pid


def _alive(pid: int) -> bool:
    try:
        os.close(_native.pidfd_open(pid))
    except ProcessLookupError:
        return False
    return True


def _end_by(sig: int) -> None:
    os.kill(os.getpid(), sig)


def refuse(hook: str, why: str) -> NoReturn:
    """The text of an exception that is raised in a preexec_fn never arrives; what is on stderr does."""
    message = f"orphanguard.{hook}: program not started: {why}\n".encode()
    with contextlib.suppress(OSError):
        os.write(2, message)
    with contextlib.suppress(OSError):
        # Popen(stderr=...) has redirected ours: tell the parent's as well.
        theirs = f"/proc/{os.getppid()}/fd/2"
        if not os.path.samestat(os.stat(theirs), os.fstat(2)):
            fd = os.open(theirs, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, message)
            finally:
                os.close(fd)
    raise RuntimeError(f"orphanguard.{hook}: {why}")

"""Guards for children that somebody else starts: `preexec_fn`, `PreexecFn`, `die_with_parent`.

They run in the child. What the kernel can do there depends on who forked it: see each one's guarantee.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal as _signal
import warnings

from ._core import arming, lifelines, pidfds, polling, supervised
from ._core.errors import GuardUnavailable, refuse
from ._core.guard import Guard, current_guard, signal_number
from ._stdlib.forked import by_fork_server, is_preexec_fn, multiprocessing_parent

__all__ = ["PreexecFn", "die_with_parent", "preexec_fn"]


def preexec_fn() -> None:
    """``subprocess.Popen(command, preexec_fn=orphanguard.preexec_fn)``, from the main thread.

    Arms PR_SET_PDEATHSIG with SIGKILL, after ``user=`` and ``group=`` have been applied (a change of ids
    would clear it, prctl(2)), and ends the child on the spot if the parent is gone already.

    PDEATHSIG follows the *thread* that forked. In a child of another thread the program is therefore not
    started: the reason goes to stderr and ``Popen`` raises `subprocess.SubprocessError`. There,
    `PreexecFn` does it.
    """
    _before_exec("preexec_fn", _signal.SIGKILL)


def _before_exec(hook: str, sig: int) -> None:
    origin = arming.origin()
    if not origin.parent:
        refuse(hook, "this process was not forked by one that had imported orphanguard. Use die_with_parent().")
    if not origin.by_main_thread:
        refuse(
            hook,
            "this child was forked by a thread that is not its parent's main thread, and the kernel would kill it "
            "when that thread ends. Use preexec_fn=orphanguard.PreexecFn(), made anew for each Popen.",
        )
    try:
        arming.arm_pdeathsig(sig, origin.parent)
    except OSError as error:
        refuse(hook, str(error))


class PreexecFn:
    """``subprocess.Popen(command, preexec_fn=orphanguard.PreexecFn())``, from any thread.

    Made in the parent, for one child. That one is armed on a lifeline that this process holds, so it dies
    with the parent *process*, whichever thread started it and whatever fds it closes; PDEATHSIG is armed
    as well if the main thread forks. After ``user=`` and ``group=`` have been applied.

    Used for a second child, or in a child of another process, the program is not started: the reason goes
    to stderr and ``Popen`` raises `subprocess.SubprocessError`. Costs the parent one fd until the child has
    armed itself (given back when the next child is started).

    Raises `GuardUnavailable` if the kernel can't keep the promise, and OSError when resources run out.
    """

    def __init__(self) -> None:
        if is_preexec_fn():
            refuse("PreexecFn", "the parentheses are missing: preexec_fn=orphanguard.PreexecFn(), made in the parent.")
        self._owner = os.getpid()
        self._state = mmap.mmap(-1, 1)  # shared with the children that are forked
        self._held, self._gives_back = lifelines.held()
        lifelines.open(self._held, pdeathsig=True, for_hook=True)

    def __call__(self) -> None:
        """In the child. Not for you to call."""
        origin = arming.origin()
        if self._owner == os.getpid() or origin.parent != self._owner:
            refuse("PreexecFn", f"made in process {self._owner}, it is for a child that this very process forks.")
        if not arming.claim(self._state):
            refuse("PreexecFn", "already used for another child. Make a new one for each Popen.")
        try:
            arming.arm(self._held.lifeline, pdeathsig=origin.by_main_thread)
        except OSError as error:
            refuse("PreexecFn", str(error))


def die_with_parent(signal: int | str = _signal.SIGKILL, parent_pid: int | None = None) -> Guard:
    """Call it in a running child: the kernel will send it ``signal`` when its parent is gone.

    For ``initializer=`` of executors and pools, worker start-up hooks, scripts. Returns what is armed.

    ``signal``: SIGKILL, or another one, by number or name, which is then only a signal and no promised death.
    ``parent_pid``: the pid that the parent had when it started this child (``os.getpid()`` there, for
    instance in ``initargs``). With it the call also notices that the parent was gone before, and ends this
    process by ``signal``.

    - In a child that was *forked* by a process that had used orphanguard before (``import orphanguard`` is use
      enough): by a lifeline, whose end is that of the parent
      *process*, whatever this child closes or executes.
    - Elsewhere (after an exec: spawned workers, scripts): by PR_SET_PDEATHSIG alone. That follows the
      *thread* that started this process. If it is not the parent's main thread, or that can't be told, the kernel
      kills too early when that thread ends before the parent does: a RuntimeWarning says so, and the returned guard
      has ``scope="thread"``. Start such children from the parent's main thread, or by `orphanguard.Process` or
      `PreexecFn`, which need no such care. To be called in the main thread of
      this process: in another one PDEATHSIG would end with that thread, and `GuardUnavailable` says so.
    - In a child of ``multiprocessing``'s fork server: not at all, since its parent in the kernel's sense is
      the server: `GuardUnavailable`. Use ``orphanguard.get_context("forkserver")``.
    - In a child that orphanguard started: it stays armed with SIGKILL.
    - As a ``preexec_fn``: the same as `orphanguard.preexec_fn`.

    Under a parent that is not root, or root of a user namespace only, a change of this process's uids undoes the guard.
    Call it again after the change.

    Raises ValueError for a signal that does not exist, and `GuardUnavailable` where this can't work.
    """
    sig = signal_number(signal)
    before_exec = is_preexec_fn()
    if before_exec:
        _before_exec("die_with_parent", sig)  # a lifeline of this child's own would be lost with the exec
    elif not _arm_again():
        _arm(sig, parent_pid)
    guard = current_guard()
    assert guard is not None
    if guard.scope == "thread" and not before_exec:
        warnings.warn(
            "die_with_parent(): this process was started by a thread that is not known to be its parent's main thread; "
            "the kernel will kill it when that thread ends, although the parent lives. Start it from the main thread, "
            "or by orphanguard.Process or PreexecFn()",
            RuntimeWarning,
            stacklevel=2,
        )
    return guard


def _arm_again() -> bool:
    """What is armed already, once more: the uids may have been changed. False if nothing is, or nothing any more."""
    if (above := supervised.current()) is not None:
        # Its lifeline is the supervisor's, which has no threads: PDEATHSIG is as good.
        if arming.is_main_thread():
            arming.arm_pdeathsig(_signal.SIGKILL, above.supervisor)
        return True
    with contextlib.suppress(OSError):  # this process has closed its copy; its parent may have one
        arming.arm_again()
    return arming.armed_still()


def _arm(sig: int, parent_pid: int | None) -> None:
    origin = arming.origin()
    now = os.getppid()  # 0 where the parent is outside our pid namespace
    client = multiprocessing_parent()
    expected = parent_pid or client or origin.parent
    if now and expected and expected != now:
        if _alive(expected):
            raise GuardUnavailable(
                errno.EINVAL, _not_the_parent(expected, now, expected == client and by_fork_server())
            )
        _end_by(sig)
    pdeathsig = sig == _signal.SIGKILL and bool(origin.by_main_thread) and arming.is_main_thread()
    if origin.lifeline >= 0:
        try:
            arming.arm_inherited(sig)
        except OSError as error:
            # It can't be opened anew: no /proc, or made under another uid.
            if not pdeathsig or error.errno not in (errno.ENOENT, errno.EACCES):
                raise
        if pdeathsig:
            arming.arm_pdeathsig(sig, origin.parent)
    elif not arming.is_main_thread():
        raise GuardUnavailable(
            errno.EINVAL,
            "PR_SET_PDEATHSIG would end with the thread that calls it, and this is not this process's main thread; "
            "call die_with_parent() in the main thread",
        )
    else:
        arming.arm_pdeathsig(sig, expected or now)


def _not_the_parent(named: int, parent: int, server: bool) -> str:
    """Why the kernel tells this process nothing of the end of ``named``, which lives."""
    if server:
        return (
            f"process {named} had a fork server start this one, and the kernel tells this one of the server's end only "
            f'(process {parent}); use orphanguard.get_context("forkserver") there'
        )
    said = f"process {named} ({_name(named)}) is not the parent of this one, which is {parent} ({_name(parent)})"
    above = parent
    while above > 1 and above != named:
        above = _stat(above)[1]
    if above != named:
        return f"{said}, nor above it"
    return (
        f"{said}: it is further above, and the kernel tells this one of its parent's end only; run it under "
        f"`orphanguard run --parent-pid={named} --`, which any process above will do for"
    )


def _stat(pid: int) -> tuple[str, int]:
    """The name and the parent of a process, as far as proc(5) tells."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as stat:
            name, rest = stat.read().split("(", 1)[1].rsplit(")", 1)
    except OSError:
        return "?", 0
    return name, int(rest.split()[1])


def _name(pid: int) -> str:
    return _stat(pid)[0]


def _alive(pid: int) -> bool:
    try:
        pidfd = pidfds.open(pid)
    except ProcessLookupError:
        return False
    try:
        return not polling.wait_readable(pidfd, 0)  # a zombie is dead
    finally:
        os.close(pidfd)


def _end_by(sig: int) -> None:
    os.kill(os.getpid(), sig)

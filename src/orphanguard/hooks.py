"""Guards for children that other code starts: `preexec_fn`, `PreexecFn` and `die_with_parent`.

These functions run in the child. What the kernel can guarantee there depends on which thread forked the child, and on
whether the child has executed a program since: each docstring says it. A child must never look guarded and not be. So a
hook that can't keep its guarantee raises, and `die_with_parent` warns if its guard follows a thread.

Needs a parent that imported orphanguard before it forked, except for `die_with_parent` after an exec.
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

    Guarantees that the kernel kills the program when this process is gone. It arms PR_SET_PDEATHSIG with SIGKILL, after
    ``user=`` and ``group=`` have been applied: a change of ids would clear it (prctl(2)). If the parent is gone
    already, the child ends at once. docs/how-to-orphan-anyway.md lists what defeats PDEATHSIG.

    PDEATHSIG follows the *forking thread*, so in a child of any thread but the main one this function refuses. The
    program is not started then, the reason goes to stderr, and ``Popen`` raises `subprocess.SubprocessError`. The same
    happens if the kernel refuses the call. `PreexecFn` works from any thread.
    """
    _before_exec("preexec_fn", _signal.SIGKILL)


def _before_exec(hook: str, sig: int) -> None:
    """Arms PDEATHSIG between a fork and an exec, or refuses in the name of ``hook``."""
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

    Make one in the parent for each child. The child is armed on a lifeline after ``user=`` and ``group=`` have been
    applied. Guarantees that the program dies with the parent *process*, whichever thread started it and whatever fds
    it closes. If the main thread forks, PDEATHSIG is armed too.

    For a second child, or in a child of another process, the hook refuses: the program is not started, the reason goes
    to stderr, and ``Popen`` raises `subprocess.SubprocessError`. The parent needs one fd until the child has armed
    itself; the next start of a child gives that fd back.

    Raises `GuardUnavailable` if the kernel can't keep the promise, and OSError if resources run out.
    """

    def __init__(self) -> None:
        if is_preexec_fn():
            refuse("PreexecFn", "the parentheses are missing: preexec_fn=orphanguard.PreexecFn(), made in the parent.")
        self._owner = os.getpid()
        self._state = mmap.mmap(-1, 1)  # shared with all forked children: of two, one can claim it
        self._held, self._gives_back = lifelines.held()
        lifelines.open(self._held, pdeathsig=True, for_hook=True)

    def __call__(self) -> None:
        """Runs in the child, called by ``Popen``. Don't call it yourself."""
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
    """Arms this process: the kernel sends it ``signal`` when its parent is gone.

    Call it in a running child: as ``initializer=`` of an executor or pool, in a worker's start-up hook, in a script.
    Returns what is armed.

    ``signal``: a number or a name. Any signal but SIGKILL is only a signal, not a death.
    ``parent_pid``: the pid of the process that started this child (``os.getpid()`` there, handed over in ``initargs``
    for instance). If that process was gone before the call, the call ends this process by ``signal``.

    What is guaranteed depends on how this process came to be:

    - *Forked by a process that had imported orphanguard*: a lifeline is armed. It follows the parent *process*,
      whatever this child closes or executes, unless ``defeated_by`` of the returned guard says otherwise.
    - *Executed* (spawned workers, scripts): PR_SET_PDEATHSIG is armed alone. It follows the *thread* that started this
      process. If that is not the parent's main thread, or if this can't be told, the kernel kills this process too
      early when that thread ends. A RuntimeWarning says so, and the returned guard has ``scope="thread"``. Start such
      a child from the parent's main thread, or by `orphanguard.Process` or `PreexecFn`, which need no such care.
      In this process, call it in the main thread: PDEATHSIG would end with any other, so there it raises
      `GuardUnavailable`.
    - *Forked by multiprocessing's fork server*: the call raises `GuardUnavailable`, because the parent in the kernel's
      sense is the server. Use ``orphanguard.get_context("forkserver")``.
    - *Started by orphanguard*: the child stays armed with SIGKILL, whatever ``signal`` is.
    - *Called as a preexec_fn*: the call does what `orphanguard.preexec_fn` does.

    If the parent is not root, or is root only in a user namespace, a change of this process's uids undoes the guard.
    Call this function again after the change.

    Raises ValueError if there is no such signal, TypeError if ``signal`` is neither a number nor a name,
    `GuardUnavailable` where the guard can't work, and OSError if resources run out.
    """
    sig = signal_number(signal)
    before_exec = is_preexec_fn()
    if before_exec:
        _before_exec("die_with_parent", sig)  # no lifeline: its description would be lost with the exec
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
    """Arms once more what is armed already, since the uids may have changed. False if nothing is, or no longer."""
    if (above := supervised.current()) is not None:
        # The lifeline is the supervisor's own. The worker has PDEATHSIG of the supervisor, which can't come early
        # because the supervisor has only one thread.
        if arming.is_main_thread():
            arming.arm_pdeathsig(_signal.SIGKILL, above.supervisor)
        return True
    # A failure does not mean that nothing is armed. This process may have closed its fd, and can't arm again then.
    # But the description lives on where its parent's tether holds it.
    with contextlib.suppress(OSError):
        arming.arm_again()
    return arming.armed_still()


def _arm(sig: int, parent_pid: int | None) -> None:
    """Arms a process in which nothing is armed: by a lifeline if there is one to inherit, else by PDEATHSIG."""
    origin = arming.origin()
    now = os.getppid()  # 0: the parent is outside our pid namespace
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
            # The child opens a description of its own by /proc. That fails without a /proc, and if the parent has made
            # the pipe under another uid. Then PDEATHSIG alone is enough, because the parent's main thread has forked.
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
    """Says why the kernel will not tell this process of the end of ``named``, a process that lives.

    ``server``: whether ``parent`` is a fork server, which forked this process for ``named``.
    """
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
    """The name and the parent's pid of the process ``pid`` (proc(5)); "?" and 0 if they can't be read."""
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
        return not polling.wait_readable(pidfd, 0)  # the pidfd of a zombie is readable: it is dead
    finally:
        os.close(pidfd)


def _end_by(sig: int) -> None:
    os.kill(os.getpid(), sig)

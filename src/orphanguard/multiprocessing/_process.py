"""What the three start methods share: `GuardedProcess`, which users hold, and `GuardedPopen`, its started child.

Children are waited for and signalled by pidfd, never by pid. A failed start leaves nothing behind. Needs a subclass for
each start method (_fork.py, _spawn.py, _forkserver.py), and the seams in _stdlib/multiprocessing.py.
"""

from __future__ import annotations

import os

from .._core import arming, forking, supervised, waiting
from .._core.keywords import explained
from .._stdlib import multiprocessing as seam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from multiprocessing.process import BaseProcess
    from typing import Any

    from .._core.child import Child
    from .._core.containment import Containment, Tree
    from .._core.guard import Guard
    from .._core.supervisor import Options
    from ._under_supervisor import HeldStart

    _ProcessBase = BaseProcess
else:
    _ProcessBase = object


class GuardedPopen:
    """A mixin, first among the bases: its methods override those of ``multiprocessing.popen_fork.Popen``.

    They wait for the child and signal it. A subclass launches the child in ``_launch``, which sets ``pdeathsig`` and
    calls `adopt`, or raises and leaves nothing behind.
    """

    child: Child
    returncode: int | None  #: the last result of `poll` or `wait`
    pdeathsig: bool  #: whether PDEATHSIG is armed in the child, besides the lifeline
    finalizer: Any
    _fds: list[int]

    def adopt(self, child: Child, process_obj: Any) -> None:
        """Takes over a child that runs. From here on `orphanguard._core.waiting` watches it."""
        waiting.registry().add(child, process_obj)
        self.child = child
        self.sentinel = child.pidfd
        self.pid = child.pid

    @staticmethod
    def take_back(child: Child) -> None:
        """Undoes a launch that has failed or was interrupted by an exception: leaves no process, zombie or fd."""
        if child.pidfd >= 0:
            waiting.registry().remove(child)
            child.abort()
        else:
            forking.abandon()
            child.drop()

    @staticmethod
    def held_start(child: Child, process_obj: Any) -> HeldStart:
        """Prepares a supervisor above a worker that is about to be forked."""
        from ._under_supervisor import HeldStart

        return HeldStart(child, process_obj._tree)

    @property
    def guard(self) -> Guard:
        from .._core.guard import (  # only when asked: it imports dataclasses, which is large, and forks copy its pages
            started_child,
            supervised_child,
        )

        supervisor = self.child.supervisor
        if supervisor is not None:
            return supervised_child(supervisor.containment, supervisor.signal)
        return started_child(pdeathsig=self.pdeathsig, flat=self.child.flat)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        return self.wait(0) if flag == os.WNOHANG else self.wait()

    def wait(self, timeout: float | None = None) -> int | None:
        child = self.child
        returncode = child.poll() if timeout is not None and timeout <= 0 else child.wait(timeout)
        if returncode is not None and child.watched:
            waiting.registry().ended(child)
        self.returncode = returncode
        return returncode

    def _send_signal(self, sig: int) -> None:
        self._check_is_child()
        self.child.send_signal(sig)

    def terminate(self) -> None:
        self._check_is_child()
        self.child.terminate()

    def kill(self) -> None:
        self._check_is_child()
        self.child.kill()

    def _check_is_child(self) -> None:
        if self.child.inherited:
            raise AssertionError("can only signal a child process")

    def close(self) -> None:
        self.child.close()


class GuardedProcess(_ProcessBase):
    """Mixed into the standard library's process classes, ahead of them: a child that starts armed."""

    _popen: GuardedPopen | None

    _tree: Options | None = None
    _held_while_it_runs = True  # multiprocessing.process._children holds it: see _core/waiting.py

    @explained
    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = {},
        *,
        daemon: bool | None = None,
        tree: Tree = False,
        grace: float | None = None,
    ) -> None:
        if tree is not False or grace is not None:
            from .._core.supervisor import Options

            self._tree = Options(tree, grace, None)
        super().__init__(group, target, name, args, kwargs, daemon=daemon)

    start = seam.start

    @property
    def command_pid(self) -> int | None:
        """The worker's own pid under ``tree=``, where ``pid`` is the supervisor's. None without a supervisor."""
        supervisor = None if self._popen is None else self._popen.child.supervisor
        return None if supervisor is None else supervisor.command_pid

    @property
    def containment(self) -> Containment | None:
        """What holds the worker's tree together: ``"subreaper"``, ``"cgroup"``, ``"pidns"``. None without ``tree=``."""
        return None if self._tree is None else self._tree.containment

    @property
    def guard(self) -> Guard | None:
        """What is armed in the child; None before ``start()``. In the child itself: what is armed there."""
        if seam.is_current(self):
            from .._core.guard import current_guard

            return current_guard()
        self._check_closed()
        return None if self._popen is None else self._popen.guard

    def close(self) -> None:
        super().close()
        waiting.registry().forget(self)

    def _started_child(self) -> Child:
        self._check_closed()
        if self._parent_pid != os.getpid():
            raise ValueError(f"can only wait for a child process, not {self!r}")
        if self._popen is None:
            raise ValueError(f"process not started: {self!r}")
        return self._popen.child

    _seen_finished = seam.discard_child

    def __repr__(self) -> str:
        text = super().__repr__()
        if self._closed or self._popen is None or self._popen.child.inherited:
            return text
        return text[:-1] + " guarded>" if " started" in text else text

    if TYPE_CHECKING:
        _closed: bool
        _parent_pid: int

        def _check_closed(self) -> None: ...

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        """Runs in the child, and makes its lifeline the sentinel of ``parent_process()``.

        The standard library's sentinel is a pipe that siblings hold open, and it would cost the parent one more fd.
        """
        armed = arming.armed()
        if armed < 0 and (above := supervised.current()) is not None:
            armed = above.lifeline
        if armed >= 0 and parent_sentinel not in (None, armed):
            os.close(parent_sentinel)
            parent_sentinel = armed
        code: int = super()._bootstrap(parent_sentinel)  # type: ignore[misc]
        return code

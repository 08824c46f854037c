"""How this process arms itself, and what is armed in it: the calls of csrc/shim/arm.c and pdeathsig.c.

When a call that arms returns, the kernel has been told; if the kernel refuses, the call raises OSError. Needs `native`.
"""

from __future__ import annotations

from .native import fail, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Origin(Protocol):
        """Where this process came from, as its parent's at-fork handlers saw it: struct og_origin of shim_api.h."""

        parent: int
        by_main_thread: bool  # 0 or 1
        lifeline: int
        armed: int
        armed_signal: int
        held_by_parent: bool  # 0 or 1
        flat: bool  # 0 or 1


def is_main_thread() -> bool:
    """Whether this is the main thread of the process in the kernel's sense: gettid() == getpid()."""
    return bool(lib.og_is_main_thread())


def arm(fd: int, *, pdeathsig: bool) -> None:
    """Arms this process on the description ``fd``, which its parent opened. If the parent is gone, it dies here."""
    if (code := lib.og_arm(fd, pdeathsig)) < 0:
        fail(code)


def arm_inherited(signal: int) -> None:
    """Arms this foreign child on its parent's lifeline, by a description that it opens itself."""
    if (code := lib.og_arm_inherited(signal)) < 0:
        fail(code)


def rehearse_pdeathsig() -> None:
    """Raises OSError if the kernel would refuse PR_SET_PDEATHSIG to a child of this thread (seccomp is inherited)."""
    if (code := lib.og_rehearse_pdeathsig()) < 0:
        fail(code)


def arm_pdeathsig(signal: int, parent: int = 0) -> None:
    """Arms ``PR_SET_PDEATHSIG``, and ends this process by ``signal`` if ``getppid()`` is no longer ``parent``.

    It does not look if ``parent`` is 0, nor if ``getppid()`` is: then the parent is outside our pid namespace.
    """
    if (code := lib.og_arm_pdeathsig(signal, parent)) < 0:
        fail(code)


def pdeathsig() -> int:
    """The signal of PR_SET_PDEATHSIG that is armed in this thread; 0 for none."""
    return int(lib.og_pdeathsig())


def armed() -> int:
    """The fd of the description that this process is armed on; -1 if there is none."""
    fd: int = lib.og_armed()
    return fd


def armed_still() -> bool:
    """Whether the signal of that description would still reach this process.

    Some changes of its uids prevent it (csrc/shim/credentials.c); so does closing a description that nobody else holds.
    """
    return bool(lib.og_armed_still())


def arm_again() -> None:
    """After a change of uids: arms this process on the same description with the credentials it has now."""
    if (code := lib.og_arm_again()) < 0:
        fail(code)


def is_global_root() -> bool:
    """Whether this process is root, and not only in a user namespace: then its lifelines reach every child."""
    return bool(lib.og_is_global_root())


def origin() -> Origin:
    """Where this process came from."""
    result: Origin = ffi.new("struct og_origin *")
    lib.og_origin(result)
    return result


def claim(page: object) -> bool:
    """True for the first caller among all processes that share the writable buffer ``page``."""
    return bool(lib.og_claim(ffi.from_buffer("char[]", page, require_writable=True)))

"""A parent that may change uids and is not global root, with one child that takes other uids: WHERE HOW THREAD.

WHERE: "namespace", root of a user namespace alone; "capable", an ordinary user with CAP_SETUID; "root", global root.
HOW: an expression that starts the child; its value is the child's handle. THREAD: which thread starts the child.
Prints the child's pid and what its guard says, then executes the Python statements that it reads on stdin.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from orphanguard import _bin
from orphanguard._core import arming
from tests.support.actor import become, obey, run_in, say

_bin.RUN = os.environ.get("ORPHANGUARD_TEST_RUN", _bin.RUN)  # a copy that everybody can execute
from orphanguard import doctor  # noqa: E402
from orphanguard._core.guard import current_guard  # noqa: E402
from orphanguard.multiprocessing import _under_supervisor  # noqa: E402, F401

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PR_SET_KEEPCAPS, PR_CAP_AMBIENT = 8, 47
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SHELL = ["/bin/sh", "-c", "echo up; exec sleep 1000"]
READ, WRITE = os.pipe()
TARGET = 1


def into_user_namespace() -> None:
    """Becomes root of a user namespace that maps 0..65535 to 100000..165535.

    Only a process outside may write that map, hence the helper. It is no fork of this process: the first fork makes the
    lifeline's pipe, which would be global root's then.
    """
    me = os.getpid()
    script = f"read go; for map in uid_map gid_map; do echo 0 100000 65536 >/proc/{me}/$map; done"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as helper:
        if LIBC.unshare(CLONE_NEWUSER) < 0:
            say(skip=f"unshare(CLONE_NEWUSER): {os.strerror(ctypes.get_errno())}")
            sys.exit()
        helper.communicate(b"go\n")
    become(0)


def into_capable_user() -> None:
    """uid 1000 with CAP_SETUID and CAP_SETGID, and no CAP_KILL."""
    capabilities = 1 << 6 | 1 << 7
    assert LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    become(1000)
    header = struct.pack("Ii", 0x20080522, 0)
    data = struct.pack("6I", capabilities, capabilities, capabilities, 0, 0, 0)
    assert LIBC.syscall(SYS_CAPSET[os.uname().machine], header, data) == 0, os.strerror(ctypes.get_errno())
    for capability in (6, 7):  # so that a program keeps them
        assert LIBC.prctl(PR_CAP_AMBIENT, 2, capability, 0, 0) == 0


def program(before: tuple[str, ...] = (), **options):
    return orphanguard.Popen([*before, *SHELL], stdout=WRITE, **options)


def process(again: bool, **options):
    child = orphanguard.get_context("fork").Process(target=change, args=(again,), **options)
    child.start()
    return child


def forked(again: bool):
    """A foreign child, which arms itself."""
    pid = os.fork()
    if pid == 0:
        orphanguard.die_with_parent()
        change(again)
    return type("Forked", (), {"pid": pid, "guard": None})


def change(again: bool) -> None:
    become(TARGET)
    before = current_guard()
    if again:
        orphanguard.die_with_parent()
    after = current_guard()
    os.write(WRITE, f"{before and before.layers} {after and after.layers}\n".encode())
    signal.pause()


def without_launcher():
    from orphanguard import _bin

    _bin.LAUNCH = "/nonexistent/orphanguard-launch"
    return program(user=TARGET)


def main() -> None:
    where, how, thread = sys.argv[1:]
    # Loaded now: other users may not be able to read this Python.
    assert orphanguard.Popen and orphanguard.die_with_parent
    assert orphanguard.get_context("fork").Process(target=bool)
    {"namespace": into_user_namespace, "capable": into_capable_user, "root": bool}[where]()

    def start() -> None:
        try:
            child = eval(how)
        except OSError as error:
            say(error=f"{type(error).__name__}: {error}")
            return
        os.close(WRITE)  # so that the child's end is the end of the file
        said = os.read(READ, 200).decode().strip()
        pid = getattr(child, "command_pid", None) or child.pid
        defeated_by = child.guard.defeated_by if child.guard else []
        say(
            supervisor=child.pid,
            pid=pid,
            said=said,
            defeated_by=defeated_by,
            doctor=doctor.global_root().ok,
            root=arming.is_global_root(),
        )

    run_in(thread, start)
    obey(globals())


if __name__ == "__main__":
    main()

"""What the kernel can do here, and what strace or a seccomp filter makes it do: hold a call, refuse it."""

from __future__ import annotations

import os
import shutil

import pytest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")

strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


HOLD = 600_000  # microseconds


def injected(*injections: str) -> tuple[str, ...]:
    calls = ",".join(sorted({call for injection in injections for call in injection.split(":")[0].split(",")}))
    inject = [word for injection in injections for word in ("-e", f"inject={injection}")]
    return ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", *inject)


def kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor.split("-")[0])


keeps_status = pytest.mark.skipif(kernel() < (6, 15), reason="PIDFD_INFO_EXIT came with Linux 6.15")


PROGRAMS = ["Popen()", "Popen(preexec_fn=os.getpid)", "Popen(user=os.geteuid())"]


SOCKETS = ["socketpair", "sendmsg", "recvmsg", "setsockopt"]  # what a tether takes

"""Runs of `orphanguard-run`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.proc import DEATH
from tests.support.trees import PIDNS, RUN

MODES = pytest.mark.parametrize("mode", ["subreaper", PIDNS])


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *arguments], capture_output=True, text=True, timeout=DEATH, check=False, **options)


@contextlib.contextmanager
def running(*arguments: str, **options) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The supervisor, and the pid of the command when that is up."""
    status, write = os.pipe()
    descriptors = (write, *options.pop("pass_fds", ()))
    if options.pop("process_group", None) == 0:  # the keyword is new in Python 3.11
        options["preexec_fn"] = os.setpgrp
    process = subprocess.Popen([RUN, f"--status-fd={write}", *arguments], pass_fds=descriptors, **options)
    os.close(write)
    try:
        with open(status) as lines:
            started = json.loads(lines.readline())
            yield process, started["command_pid"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stdin):
            if stream is not None:
                stream.close()


SAY = """
import os, signal, sys
def say(number, frame):
    os.write(1, b"%d " % number)
    if number == 15: os._exit(3)
for number in {1, 2, 3, 10, 12, 15, 18, 28, 34, 64}:
    signal.signal(number, say)
woken, wake = os.pipe()  # pause() would sleep through a signal that comes after the interpreter's last look
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
os.write(1, b"up ")
while True: os.read(woken, 1)
"""

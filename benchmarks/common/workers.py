"""The coordinator's side of ``worker.py``: starts the processes that are measured, and asks them."""

import contextlib
import json
import os
import signal
import subprocess
import sys

from .host import ROOT
from .processes import adopt_orphans, reap_all


class Worker:
    """A fresh interpreter that runs ``benchmarks.SUBJECT`` in a role, and is killed at the end, by its pidfd."""

    def __init__(self, subject, role):
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{subject}", "worker", role],
            cwd=ROOT,
            # With compiled files, as the standard library has them: compiling leaves a process a megabyte larger.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def ask(self, name, *arguments):
        self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker {self._process.args[2:]} ended while it was asked for {name}")
        return json.loads(answer)

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self):
        with contextlib.suppress(ProcessLookupError):  # killed and reaped
            self.kill()
        self._process.wait()
        os.close(self.pidfd)
        self._process.stdin.close()
        self._process.stdout.close()


@contextlib.contextmanager
def workers(subject, *roles):
    """A worker for each role. At the end their children, all guarded in some way, are ours to reap."""
    adopt_orphans()
    started = []
    try:
        for role in roles:
            started.append(Worker(subject, role))
        yield started
    finally:
        for worker in started:
            worker.close()
        reap_all()

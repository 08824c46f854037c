"""A program starts in the state that `subprocess.Popen` would start it in, and the parent stays as it was."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess as standard
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from orphanguard import subprocess
from tests.support.actor import run_in
from tests.support.fdtable import open_fds
from tests.support.kernel import as_root
from tests.support.witness import ACTOR

ROOT_ONLY = ("user", "group", "extra_groups")

# The fields of /proc/PID/status that are compared.
FIELDS = (
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Uid",
    "Gid",
    "Groups",
    "Umask",
    "NoNewPrivs",
    "Seccomp",
    "CapEff",
    "CapInh",
    "CapAmb",
)


def state(pid: int) -> dict[str, object]:
    proc = Path("/proc", str(pid))
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    stat = (proc / "stat").read_text().rpartition(")")[2].split()
    fds = {}
    for fd in (proc / "fd").iterdir():
        flags = (Path("/proc", str(pid), "fdinfo", fd.name)).read_text().split("flags:")[1].split()[0]
        fds[int(fd.name)] = (os.readlink(fd).split("[")[0], int(flags, 8) & ~os.O_LARGEFILE if int(fd.name) > 2 else 0)
    told = {field: status[field].strip() for field in FIELDS}
    # From 3.13 on the standard library calls glibc's posix_spawn() where it can. That leaves two signals ignored, which
    # glibc keeps for itself.
    told["SigIgn"] = f"{int(told['SigIgn'], 16) & ~(3 << 31):x}"
    return {
        **told,
        "own group": stat[2] == str(pid),
        "own session": stat[3] == str(pid),
        "parent": stat[1],
        "nice": stat[16],
        "cwd": os.readlink(proc / "cwd"),
        "arguments": (proc / "cmdline").read_text(),
        "environment": sorted((proc / "environ").read_bytes().split(b"\0")),
        "fds": fds,
    }


def settled(pid: int) -> dict[str, object]:
    while True:
        with contextlib.suppress(FileNotFoundError):  # an fd that has just been closed
            return state(pid)


COMBINATIONS = {
    "nothing": {},
    "shell": {"args": "exec sleep 1000", "shell": True},
    "shell with arguments": {"args": ["exec sleep $0", "1000"], "shell": True},
    "another shell": {"args": "exec sleep 1000", "shell": True, "executable": "/bin/bash"},
    "executable": {"args": ["other", "1000"], "executable": "/bin/sleep"},
    "bytes": {"args": [b"sleep", b"1000"]},
    "path": {"args": [Path("/bin/sleep"), "1000"]},
    "pipes": {"stdin": -1, "stdout": -1, "stderr": -1},
    "stderr to stdout": {"stdout": -1, "stderr": standard.STDOUT},
    "devnull": {"stdin": standard.DEVNULL, "stdout": standard.DEVNULL, "stderr": standard.DEVNULL},
    "text": {"stdin": -1, "stdout": -1, "text": True, "bufsize": 1},
    "pipesize": {"stdin": -1, "stdout": -1, "pipesize": 4096},
    "close_fds=False": {"close_fds": False},
    "close_fds=False, pipes": {"close_fds": False, "stdin": -1, "stdout": -1},
    "pass_fds": {"pass_fds": "FDS"},
    "pass_fds, pipes": {"pass_fds": "FDS", "stdin": -1, "stdout": -1},
    "cwd": {"cwd": "/usr"},
    "cwd, bytes": {"cwd": b"/usr/bin", "args": ["./sleep", "1000"]},
    "env": {"env": {"A": "1", "PATH": "/bin"}},
    "env, bytes": {"env": {b"A": b"\xff"}},
    "empty env": {"env": {}},
    "umask": {"umask": 0o027},
    "umask=0": {"umask": 0},
    "restore_signals=False": {"restore_signals": False},
    "start_new_session": {"start_new_session": True},
    "user": {"user": 65534},
    "user by name": {"user": "nobody"},
    "group": {"group": 65534},
    "extra_groups": {"extra_groups": [1, 2, 65534]},
    "no extra_groups": {"extra_groups": []},
    "all ids": {"user": 65534, "group": 65534, "extra_groups": [5], "umask": 0o77, "cwd": "/usr", "stdin": -1},
    "all ids, close_fds=False": {"user": 65534, "group": 65534, "extra_groups": [5], "close_fds": False},
    "preexec_fn": {"preexec_fn": os.getpid},
    "preexec_fn, user": {"preexec_fn": os.getpid, "user": 65534, "stdout": -1, "pass_fds": "FDS"},
    "preexec_fn that does things": {"preexec_fn": lambda: (os.setsid(), os.umask(0o33), os.chdir("/usr"))},
    "much": {"start_new_session": True, "umask": 0o7, "cwd": "/", "env": {"B": "2"}, "stdin": -1, "close_fds": False},
}

if sys.version_info >= (3, 11):
    COMBINATIONS |= {
        "process_group=0": {"process_group": 0},
        "process_group, new_session": {"process_group": 0, "user": os.geteuid()},
    }


@pytest.mark.parametrize("thread", ["main", "other"])
def test_as_the_standard_library_starts_it(thread: str) -> None:
    """With signals blocked, ignored and handled, an odd umask, and inheritable and other fds open."""
    different = {}
    compared: list[str] = []

    def compare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 2})
        for name, wanted in COMBINATIONS.items():
            if os.geteuid() != 0 and any(key in wanted for key in ROOT_ONLY):
                continue
            keywords = {"args": ["sleep", "1000"]} | wanted
            if "pass_fds" in wanted:
                keywords["pass_fds"] = mine[1:]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                both = [popen(**keywords) for popen in (standard.Popen, subprocess.Popen)]
            try:
                # Both change for a moment: ld.so opens files, and a shell executes the program.
                deadline = time.monotonic() + 5
                while (states := [settled(process.pid) for process in both])[0] != states[1]:
                    if time.monotonic() > deadline:
                        different[name] = {k: (v, states[1][k]) for k, v in states[0].items() if v != states[1][k]}
                        break
            finally:
                for process in both:
                    process.kill()
                    process.communicate()
            compared.append(name)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 2})

    mine = [os.open("/dev/null", os.O_RDONLY), os.dup2(1, 60, inheritable=True), os.dup2(1, 61, inheritable=False)]
    umask = os.umask(0o31)
    before = [signal.signal(signal.SIGUSR2, signal.SIG_IGN), signal.signal(signal.SIGHUP, lambda *_: None)]
    try:
        run_in(thread, compare)
    finally:
        signal.signal(signal.SIGUSR2, before[0])
        signal.signal(signal.SIGHUP, before[1])
        os.umask(umask)
        for fd in mine:
            os.close(fd)
    assert different == {}
    assert len(compared) == len(COMBINATIONS) or os.geteuid() != 0
    assert len(compared) > 20


# This process of its own shuffles its fds 0 to 2. The answers go to fd 50.
SHUFFLED = """
import itertools, os, subprocess as standard, sys
from orphanguard import subprocess
from orphanguard._core import guard
os.dup2(1, 50)
for place, name in enumerate(("/dev/zero", "/dev/null", "/dev/full")):
    os.dup2(os.open(name, os.O_RDWR), place)
def fds(popen, **keywords):
    process = popen(["sleep", "1000"], **keywords)
    try:
        return [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)]
    finally:
        process.kill()
        process.wait()
wrong = []
for close_fds in (True, False):
    for stdin, stdout, stderr in itertools.product((None, 0, 1, 2), repeat=3):
        keywords = dict(stdin=stdin, stdout=stdout, stderr=stderr, close_fds=close_fds)
        if (both := [fds(popen, **keywords) for popen in (standard.Popen, subprocess.Popen)])[0] != both[1]:
            wrong.append((keywords, both))
os.write(50, repr(wrong).encode())
"""


def test_stdio_shuffled() -> None:
    result = standard.run([sys.executable, "-c", SHUFFLED], stdout=-1, check=True, timeout=55)
    assert result.stdout == b"[]"


# No fd of ours may get the numbers 0 to 2, nor be taken for an fd that the child is to have.
CLOSED = f"""{ACTOR}
from tests.support.fdtable import tethers
from orphanguard import subprocess
from orphanguard._core import guard, native
closed = eval(sys.argv[1])
os.dup2(1, 50)
for fd in closed:
    os.close(fd)
told, tell = os.pipe()
told, tell = os.dup2(told, 60), os.close(tell)  # no write end is left: poll() says POLLHUP
for fd in closed:
    try: os.close(fd)  # the pipe may have got that number
    except OSError: pass
answers = []
for keywords in (dict(), dict(close_fds=False), dict(stdin=told), dict(user=os.geteuid(), stdin=told)):
    p = subprocess.Popen(["sleep", "1000"], **keywords)
    q = subprocess.Popen(["sleep", "1000"], death_signal=15, **keywords)
    answers.append((min(*tethers(), p._child.pidfd, q._child.pidfd) > 2, p.poll(), q.poll()))
    p.kill(), q.kill(), p.wait(), q.wait()
with subprocess.Popen(["cat"], stdin=-1, stdout=-1, stderr=-1) as p:
    answers.append(p.communicate(b"x"))
answers.append(subprocess.run("echo out; echo err >&2; cat", shell=True, input=b"in", capture_output=True).stdout)
os.write(50, repr(answers).encode())
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1), (0, 2), (1, 2), (0, 1, 2)], ids=str)
def test_without_stdio(closed: tuple[int, ...]) -> None:
    result = standard.run([sys.executable, "-c", CLOSED, repr(closed)], stdout=-1, check=True, timeout=55)
    fine = (True, None, None)
    assert eval(result.stdout) == [fine] * 4 + [(b"x", b""), b"out\nin"]


PR_GET_DUMPABLE = 3


@as_root
@pytest.mark.parametrize("keywords", [{"user": 65534}, {"group": 65534}, {"extra_groups": [1]}, {}], ids=str)
def test_the_parent_stays_dumpable(keywords: dict[str, object]) -> None:
    """A child that changed its ids while it shares our memory would clear the flag."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_GET_DUMPABLE) == 1
    subprocess.run(["true"], check=True, **keywords)
    assert libc.prctl(PR_GET_DUMPABLE) == 1


def test_the_parents_signals_stay() -> None:
    def status() -> list[str]:
        lines = Path("/proc/thread-self/status").read_text().splitlines()
        # SigQ counts what is queued for all processes of this user.
        return [line for line in lines if line.startswith("Sig") and not line.startswith("SigQ")]

    before = status()
    subprocess.run(["true"], check=True)
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/nonexistent"])
    assert status() == before


@pytest.mark.parametrize("failing", [{}, {"cwd": "/nonexistent"}, {"stdin": 999}, {"process_group": 1}])
def test_the_parents_fds_stay(failing: dict[str, object]) -> None:
    """The child shares its parent's table of fds at first."""
    if "process_group" in failing and sys.version_info < (3, 11):
        pytest.skip("process_group is new in Python 3.11")
    reader, writer = os.pipe()
    high = os.dup2(writer, 700, inheritable=False)
    subprocess.run(["true"])  # makes the fds that we keep

    def table() -> dict[int, tuple[bool, str]]:
        return {fd: (os.get_inheritable(fd), what) for fd, what in open_fds().items()}

    before = table()
    with contextlib.suppress(OSError):
        subprocess.run(["true"], pass_fds=[reader, high], **failing)
        assert not failing
    assert table() == before
    for fd in reader, writer, high:
        os.close(fd)


def test_environment_changes_meanwhile() -> None:
    """Other threads run during a start, and setenv() may move the strings that the child's execve() reads."""
    end = threading.Event()

    def change() -> None:
        for n in itertools.count():
            if end.is_set():
                return
            os.environ[f"ORPHANGUARD_TEST_{n % 500}"] = "x" * (n % 100)
            if n % 500 == 499:
                for name in [name for name in os.environ if name.startswith("ORPHANGUARD_TEST_")]:
                    del os.environ[name]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            assert subprocess.run(["true"]).returncode == 0
    finally:
        end.set()
        thread.join()
        for name in [name for name in os.environ if name.startswith("ORPHANGUARD_TEST_")]:
            del os.environ[name]

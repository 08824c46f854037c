"""`Popen(tree=)`: what it starts, and as what; bad input, and starts that fail."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import subprocess as standard
from typing import Any

import pytest

from orphanguard import subprocess
from orphanguard._core import lifelines
from tests.support.kernel import as_root
from tests.support.proc import DEATH
from tests.support.trees import LEAVER, public_run, supervised
from tests.support.witness import python

F_GETSIG = 11  # linux/fcntl.h


@pytest.mark.parametrize("hook", [{}, {"preexec_fn": os.getpid}], ids=["", "preexec_fn"])
@pytest.mark.parametrize(
    "keywords",
    [
        {"args": "echo $0 $X", "shell": True, "env": {"X": "y"}},
        {"args": ["name", "-c", "echo $0"], "executable": "/bin/sh"},
        {"args": ["pwd"], "cwd": "/usr"},
        {"args": ["env"], "env": {"PATH": "/nonexistent:/bin:/usr/bin"}},
        {"args": ["sh", "-c", "umask; echo $(ps -o sid= -p $$) $(ps -o pid= -p $PPID)"], "umask": 0o27},
        {"args": [b"printf", "%s", b"\xff"]},
    ],
)
def test_as_the_standard_library_starts_it(keywords: dict[str, Any], hook: dict[str, Any]) -> None:
    def output(library: Any, **how: Any) -> bytes:
        text: bytes = library.run(**keywords, **hook, **how, stdout=standard.PIPE, check=True).stdout
        return text.split()[0]

    assert output(subprocess, tree=True) == output(standard)


@as_root
def test_as_another_user() -> None:
    """The supervisor keeps its own uid, so it can end the program as another user."""
    script = "echo $(id -u) $(id -g) $(id -G); " + LEAVER + "sleep 1000; :"
    who = {"user": 65534, "group": 65533, "extra_groups": [5, 6]}
    with supervised(script, 3, tree=True, stdout=standard.PIPE, text=True, **who) as (process, token):
        assert process.stdout.readline() == "65534 65533 65533 5 6\n"
        assert os.stat(f"/proc/{process.command_pid}").st_uid == 65534
        with open(f"/proc/{process.pid}/status") as status:
            assert "Uid:\t0\t0\t0\t0\n" in status.readlines()
        process.kill()
        assert process.wait(DEATH) == -signal.SIGKILL
        assert token.holders() == []


def test_its_fds() -> None:
    """The program has the fds that it would have without a supervisor, and none of the supervisor's."""
    reader, writer = os.pipe()
    script = "ls /proc/self/fd"
    for keywords in {"pass_fds": [writer]}, {"close_fds": False}, {}:
        done = subprocess.run(["sh", "-c", script], tree=True, stdout=standard.PIPE, **keywords)
        plain = standard.run(["sh", "-c", script], stdout=standard.PIPE, check=True, **keywords)
        assert done.stdout == plain.stdout
    with supervised("exec sleep 1000", 1, tree=True, pass_fds=[writer]) as (process, _):
        os.close(writer)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize(
    "keywords",
    [
        {"args": ["nonexistent"]},
        {"args": ["/etc/passwd"]},
        {"args": ["/"]},
        {"args": ["/etc/passwd/x"]},
        {"args": ["true"], "cwd": "/nonexistent"},
        {"args": ["true"], "executable": "/nonexistent"},
        {"args": ["true"], "env": {"a=b": "c"}},
        {"args": ["a\0b"]},
        {"args": ["true", "a\0b"]},
        {"args": [1]},
        {"args": []},
        {"args": "nonexistent", "preexec_fn": os.getpid},
    ],
    ids=str,
)
def test_errors_are_the_standard_librarys(keywords: dict[str, Any]) -> None:
    def error(library: Any, **how: Any) -> BaseException:
        with pytest.raises(BaseException) as caught:
            library.Popen(**keywords, **how)
        return caught.value

    ours, theirs = error(subprocess, tree=True), error(standard)
    assert (type(ours), str(ours)) == (type(theirs), str(theirs))
    if isinstance(ours, OSError) and isinstance(theirs, OSError):
        assert (ours.errno, ours.filename) == (theirs.errno, theirs.filename)
    del ours, theirs
    gc.collect()
    assert standard._active == []  # no program was dropped while it ran


def test_a_script_without_an_interpreter(tmp_path) -> None:
    script = tmp_path / "script"
    script.write_text("echo")
    script.chmod(0o700)
    with pytest.raises(OSError) as caught:
        subprocess.Popen([script], tree=True)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOEXEC, script)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"tree": "chroot"}, ValueError),
        ({"tree": 2}, ValueError),
        ({"tree": None}, ValueError),
        ({"tree": True, "guard": False}, ValueError),
        ({"grace": 1, "guard": False}, ValueError),
        ({"grace": -1}, ValueError),
        ({"grace": float("nan")}, ValueError),
        ({"grace": float("inf")}, ValueError),
        ({"grace": 1e9}, ValueError),
        ({"grace": "5s"}, TypeError),
        ({"grace": True}, TypeError),
        ({"tree": True, "death_signal": 99}, ValueError),
    ],
    ids=str,
)
def test_bad_input(keywords: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        subprocess.Popen(["true"], **keywords)


@as_root
def test_a_containment_that_is_not_to_be_had() -> None:
    code = """if True:
        import os, sys
        import orphanguard._core.supervisor
        from orphanguard import GuardUnavailable, subprocess
        subprocess.run(["true"], tree=True)
        orphanguard._core.supervisor.RUN = sys.argv[1]
        fds = len(os.listdir("/proc/self/fd"))
        os.setresuid(65534, 65534, 65534)
        try:
            subprocess.Popen(["echo", "it ran"], tree="cgroup")
        except GuardUnavailable as error:
            print(error)
        try:
            print(os.waitpid(-1, 0))
        except ChildProcessError:
            print(len(os.listdir("/proc/self/fd")) - fds)
    """
    done = python(code, public_run())
    assert done.stderr == ""
    assert "--tree=cgroup: our cgroup is not delegated to us: mkdir(" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1:] == ["0"]


def test_the_next_lifeline_kills() -> None:
    """A supervisor changes the signal of its own lifeline to SIGCONT. The next child must not get that signal."""
    subprocess.run(["true"], tree=True)
    held, _gives_back = lifelines.held()
    lifelines.open(held, pdeathsig=False)
    assert fcntl.fcntl(held.lifeline, F_GETSIG) == signal.SIGKILL


def test_a_control_pipe_that_the_program_has_closed(tmp_path) -> None:
    """By then the number may be a file's, which must not be written to."""
    with supervised("exec sleep 1000", 1, tree=True) as (process, _):
        control = process._child.supervisor._control.fd
        with open(tmp_path / "file", "wb") as file:
            os.dup2(file.fileno(), control)
            with pytest.raises(OSError) as caught:
                process.kill()
            assert caught.value.errno == errno.EBADF
            assert process.poll() is None
            os.kill(process.command_pid, signal.SIGKILL)
            process.wait()
            os.close(control)  # the start has left it open
        assert (tmp_path / "file").read_bytes() == b""

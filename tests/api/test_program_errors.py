"""What `subprocess.Popen` raises, `orphanguard.subprocess.Popen` raises, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess as standard
import sys
import warnings
from pathlib import Path

import pytest

import orphanguard
from orphanguard import subprocess
from orphanguard._core import lifelines, spawning
from tests.support.fdtable import open_fds, settle, tethers
from tests.support.starts import inventory

Long = "x" * 200_000  # more than MAX_ARG_STRLEN

# DIR is a directory with `text`, which is not executable, and `script`, which is executable and no program.
CALLS = {
    "no such path": "'/nonexistent/program'",
    "no such path, as bytes": "[b'/nonexistent/program', 'x']",
    "no such path, as Path": "Path('/nonexistent/program')",
    "not in PATH": "['nonexistent-program']",
    "empty PATH": "['true'], env={'PATH': ''}",
    "not in that PATH": "['true'], env={'PATH': DIR}",
    "not executable in PATH": "['text'], env={'PATH': DIR + ':/bin'}",
    "not executable": "[DIR + '/text']",
    "no program": "[DIR + '/script']",
    "below a file": "[DIR + '/text/x']",
    "a directory": "['/']",
    "executable": "['true'], executable='/nonexistent'",
    "no such shell": "'true', shell=True, executable='/nonexistent'",
    "no such cwd": "['true'], cwd='/nonexistent'",
    "no such cwd, as Path": "['true'], cwd=Path('/nonexistent')",
    "no such cwd, as bytes": "['true'], cwd=b'/nonexistent'",
    "cwd is no directory": "['true'], cwd=DIR + '/text'",
    "empty cwd": "['true'], cwd=''",
    "relative to cwd": "['./nonexistent'], cwd=DIR",
    "bad fd in pass_fds": "['true'], pass_fds=[999]",
    "negative fd in pass_fds": "['true'], pass_fds=[-1]",
    "too large an fd in pass_fds": "['true'], pass_fds=[2**40]",
    "pass_fds=5": "['true'], pass_fds=5",
    "pass_fds=['x']": "['true'], pass_fds=['x']",
    "bad stdin": "['true'], stdin=999",
    "bad stdout": "['true'], stdout=999",
    "bad stderr": "['true'], stderr=999",
    "negative stdin": "['true'], stdin=-5",
    "stdin='x'": "['true'], stdin='x'",
    "stdout=1.5": "['true'], stdout=1.5",
    "NUL in an argument": "['true', 'a\\0b']",
    "NUL at the end": "['true', 'a\\0']",
    "only a NUL": "['true', '\\0']",
    "NUL in the program": "['tr\\0ue']",
    "NUL in executable": "['true'], executable='/bin/tr\\0ue'",
    "NUL in cwd": "['true'], cwd='/\\0'",
    "NUL in env's name": "['true'], env={'a\\0': 'b'}",
    "NUL in env's value": "['true'], env={'a': '\\0b'}",
    "= in env's name": "['true'], env={'a=b': 'c'}",
    "no such user": "['true'], user='nobody-of-that-name'",
    "no such group": "['true'], group='nobody-of-that-name'",
    "no such extra group": "['true'], extra_groups=['nobody-of-that-name']",
    "negative user": "['true'], user=-1",
    "negative group": "['true'], group=-1",
    "negative extra group": "['true'], extra_groups=[-1]",
    "too large a user": "['true'], user=2**40",
    "too large a group": "['true'], group=2**40",
    "too large an extra group": "['true'], extra_groups=[2**40]",
    "no group": "['true'], extra_groups=[2**32 - 1]",
    "too many groups": "['true'], extra_groups=range(70000)",
    "user=1.5": "['true'], user=1.5",
    "extra_groups=5": "['true'], extra_groups=5",
    "argument too long": "['true', Long]",
    "arguments too long": "['true', *[Long[:100_000]] * 100]",
    "environment too long": "['true'], env={'x': Long}",
    "name too long": "['/' + Long]",
    "name too long in PATH": "[Long]",
    "empty name": "['']",
    "empty command": "''",
    "no arguments": "[]",
    "args=None": "None",
    "args=5": "5",
    "args=[5]": "[5]",
    "args=['true', None]": "['true', None]",
    "env=5": "['true'], env=5",
    "env={'a': 5}": "['true'], env={'a': 5}",
    "env={5: 'a'}": "['true'], env={5: 'a'}",
    "cwd=5": "['true'], cwd=5",
    "umask='x'": "['true'], umask='x'",
    "too large an umask": "['true'], umask=2**40",
    "bufsize='x'": "['true'], bufsize='x'",
    "preexec_fn=5": "['true'], preexec_fn=5",
    "preexec_fn that raises": "['true'], preexec_fn=lambda: 1 / 0",
    "preexec_fn, no such path": "'/nonexistent', preexec_fn=os.getpid",
    "preexec_fn, no such cwd": "['true'], preexec_fn=os.getpid, cwd='/nonexistent'",
    "preexec_fn, bad fd": "['true'], preexec_fn=os.getpid, pass_fds=[999]",
    "path-like with shell": "Path('true'), shell=True",
    "startupinfo": "['true'], startupinfo=5",
    "creationflags": "['true'], creationflags=5",
    "no such parameter": "['true'], bogus=1",
    "no such encoding": "['true'], encoding='no-such', stdin=PIPE, stdout=PIPE",
    "text and universal_newlines": "['true'], text=True, universal_newlines=False",
}

if sys.version_info >= (3, 11):
    CALLS |= {
        "no such process group": "['true'], process_group=2**30",
        **({"too large a process group": "['true'], process_group=2**40"} if sys.version_info >= (3, 13) else {}),
        "process_group='x'": "['true'], process_group='x'",
    }

if os.geteuid() != 0:
    CALLS |= {
        "another user": "['true'], user=0",
        "another group": "['true'], group=0",
        "other groups": "['true'], extra_groups=[0]",
    }


def raised(popen: object, call: str, scope: dict[str, object]) -> tuple[object, ...]:
    with warnings.catch_warnings(), pytest.raises(Exception) as caught:
        warnings.simplefilter("ignore")
        eval(f"popen({call})", {**globals(), "popen": popen, **scope}).wait()
    error = caught.value
    filename = getattr(error, "filename", None)
    if isinstance(filename, os.PathLike):
        filename = os.fspath(filename)  # the standard library tells a string where it calls posix_spawn()
    return type(error), getattr(error, "errno", None), filename


def theirs(call: str, scope: dict[str, object]) -> tuple[tuple[object, ...], set[int]]:
    """What the standard library raises, and the fds that it leaves open."""
    before = open_fds()
    expected = raised(standard.Popen, call, scope)
    forgotten = set(open_fds()) - set(before)
    for fd in forgotten:
        os.close(fd)
    return expected, forgotten


@pytest.mark.parametrize("options", ["", ", stdin=PIPE, stdout=PIPE", ", guard=False"])
def test_the_same_exception(options: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("")
    (tmp_path / "script").write_text("no program")
    (tmp_path / "script").chmod(0o755)
    different = {}
    for name, call in CALLS.items():
        scope = {"DIR": str(tmp_path), "PIPE": standard.PIPE}
        extra = "" if "std" in call and "PIPE" in options else options
        expected, _ = theirs(call + extra.replace(", guard=False", ""), scope)
        before = inventory()
        got = raised(subprocess.Popen, call + extra, scope)
        if expected != got or inventory() != before:
            different[name] = (expected, got, before, inventory())
    assert different == {}


FORGOTTEN = {  # with three pipes, or as many as it makes until it fails
    "no such encoding": ("['true'], encoding='no-such'", (3, 10)),
    "no such user": ("['true'], user='nobody-of-that-name'", (3, 11, 4)),
    "negative group": ("['true'], group=-1", (3, 11, 4)),
    "no such group": ("['true'], extra_groups=['nobody-of-that-name']", (3, 11, 4)),
    "bad stderr": ("['true'], stderr=1.5", (3, 11, 4)),
    "bad stderr, no stdin": ("['true'], stdin=standard.DEVNULL, stderr=1.5", (3, 11, 4)),
    "no such user, no stdin": ("['true'], stdin=standard.DEVNULL, user='nobody-of-that-name'", (3, 11, 4)),
    "a pipe that is too large": ("['true'], pipesize=2**31 + 1", (3, 11, 4)),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_no_pipe_is_left(name: str) -> None:
    """The standard library forgets pipes that it has made before the start fails. Ours closes them."""
    call, mended = FORGOTTEN[name]
    call += "".join(f", {stream}=-1" for stream in ("stdin", "stdout", "stderr") if f"{stream}=" not in call)
    expected, forgotten = theirs(call, {})
    assert forgotten or sys.version_info >= mended  # the control
    before = open_fds()
    assert raised(subprocess.Popen, call, {}) == expected
    assert open_fds() == before


def test_minus_one_is_no_user() -> None:
    """This differs from the standard library on purpose, which starts the program as the user of the parent."""
    for keywords in ({"user": 2**32 - 1}, {"group": 2**32 - 1}):
        with pytest.raises(OverflowError):
            subprocess.Popen(["true"], **keywords)


@pytest.mark.parametrize("sig", [0, -1, 999, 65, 32, "NONE", None])
def test_death_signals_that_do_not_exist(sig: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifelines, "open", None)
    monkeypatch.setattr(spawning, "spawn", None)
    with pytest.raises(TypeError if sig is None else ValueError):
        subprocess.Popen(["true"], death_signal=sig)


@pytest.mark.parametrize("how", [{}, {"user": os.geteuid()}, {"guard": False}], ids=str)
def test_a_closed_fd_is_not_one_of_ours(how: dict[str, object]) -> None:
    """The number in the argument is free, and our lifeline or pidfd would get it. The error must come all the same."""
    lowest = os.open("/", os.O_PATH)
    os.close(lowest)
    for keywords in {"stdin": lowest}, {"stdout": lowest}, {"stderr": lowest}, {"pass_fds": [lowest]}:
        with pytest.raises(OSError) as caught:
            subprocess.Popen(["true"], **keywords, **how)
        assert caught.value.errno == errno.EBADF
        assert type(caught.value) is OSError


def test_it_names_what_was_refused() -> None:
    with pytest.raises(OSError, match=r"\[Errno 9\] dup2: Bad file descriptor"):
        subprocess.Popen(["true"], stdin=999)
    with pytest.raises(OSError) as caught:
        subprocess.Popen(["true"], stdin=999)
    assert not isinstance(caught.value, orphanguard.GuardUnavailable)


@pytest.mark.parametrize("how", ["pass_fds", "stdin"])
def test_a_tether_is_not_passed_on(how: str) -> None:
    """The user has closed a number, and now it is our tether's. A program with a copy of a tether would keep all
    children alive; a program that reads from the queue would take out their descriptions."""
    settle()
    assert len(tethers()) >= 2
    for fd in tethers():
        with pytest.raises(OSError) as caught:
            subprocess.Popen(["true"], **{how: (fd,) if how == "pass_fds" else fd})
        assert caught.value.errno == errno.EBADF

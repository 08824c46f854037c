"""The exit status of `orphanguard-run`, its options, and what it says of bad input."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.supervisor import MODES, run
from tests.support.trees import QUOTED_RUN, no_pidns


@MODES
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", -15),
        ("kill -KILL $$", -9),
        ("kill -SEGV $$", -11),
    ],
)
def test_the_status_is_the_commands(mode: str, script: str, code: int) -> None:
    assert run(f"--tree={mode}", "sh", "-c", script).returncode == code


def test_a_shell_sees_128_and_the_signal() -> None:
    assert subprocess.run(["sh", "-c", f"{QUOTED_RUN} sh -c 'kill $$'; exit $?"], check=False).returncode == 128 + 15


BAD = [
    ([], 125, "no command; see --help"),
    (["--"], 125, "no command; see --help"),
    (["--bad", "echo", "ran"], 125, "no such option: '--bad'; see --help"),
    (["-x", "echo", "ran"], 125, "no such option: '-x'; see --help"),
    (["--signal"], 125, "--signal needs a value; see --help"),
    (["--signal=NONE", "echo", "ran"], 125, "no such signal: 'NONE'"),
    (["--signal=0", "echo", "ran"], 125, "no such signal: '0'"),
    (["--signal=65", "echo", "ran"], 125, "no such signal: '65'"),
    *[
        (["--grace", text, "echo", "ran"], 125, f"not a duration: '{text}' (5, 5s, 500ms, 2m; at most 24 days)")
        for text in ["", "x", "-1", "5 s", "5sec", "1e3", ".", "inf", "nan", "25d", "99999999999999999999"]
    ],
    (["--tree=everything", "echo", "ran"], 125, "no such containment: 'everything' (subreaper, cgroup, pidns)"),
    (["--status-fd=99", "echo", "ran"], 125, "--status-fd: file descriptor 99: Bad file descriptor"),
    (["--status-fd=x", "echo", "ran"], 125, "--status-fd: not a file descriptor: 'x'"),
    (["--status-fd=0", "echo", "ran"], 125, "--status-fd: file descriptor 0 is not open for writing"),
    (["--control-fd=99", "echo", "ran"], 125, "--control-fd: file descriptor 99: Bad file descriptor"),
    (["--lifeline-fd=0", "echo", "ran"], 125, "--lifeline-fd: not armed for this process"),
    (["--parent-pid=2147483647", "echo", "ran"], 125, "the parent 2147483647 is gone: nothing started"),
    (["--parent-pid=x", "echo", "ran"], 125, "--parent-pid: not a process id: 'x'"),
    (["--child-pid=1"], 125, "--child-pid: process 1 is no child of ours: No child processes"),
    (["--child-pid=1", "echo", "ran"], 125, "--child-pid and a command: one of them"),
    (["/nonexistent/command"], 127, "/nonexistent/command: No such file or directory"),
    (["no-such-command"], 127, "no-such-command: No such file or directory"),
    (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
    (["/"], 126, "/: Permission denied"),
    (["--tree=pidns", "/nonexistent/command"], 127, "/nonexistent/command: No such file or directory"),
    (
        ["--tree=pidns", "--child-pid=1"],
        125,
        "--tree=pidns: a child that runs already can't be moved into a pid namespace",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "code", "line"), BAD, ids=[" ".join(arguments) or "nothing" for arguments, *_ in BAD]
)
def test_bad_input(arguments: list[str], code: int, line: str) -> None:
    if "--tree=pidns" in arguments and no_pidns():
        pytest.skip(no_pidns())
    read, write = os.pipe()
    done = run(*arguments, stdin=read)
    os.close(read), os.close(write)
    assert done.stderr == f"orphanguard-run: {line}\n"
    assert (done.stdout, done.returncode) == ("", code)


@pytest.mark.parametrize("text", ["5", "5s", "500ms", "0.5", ".5s", "2m", "1h", "1d", "0"])
def test_durations(text: str) -> None:
    assert run(f"--grace={text}", "true").returncode == 0


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "sigterm", "15", "WINCH", "64"])
def test_signals(text: str) -> None:
    assert run("--signal", text, "true").returncode == 0


def test_help_and_version() -> None:
    import orphanguard

    assert run("--version").stdout == f"orphanguard-run {orphanguard.__version__}\n"
    text = run("--help").stdout
    for option in ("--signal", "--grace", "--tree", "--status-fd", "--verbose", "125", "126", "127", "128+N"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 80


def test_options_stop_at_the_command() -> None:
    assert run("printf", "%s ", "--help", "--", "--grace").stdout == "--help -- --grace "
    assert run("--", "printf", "%s", "--help").stdout == "--help"

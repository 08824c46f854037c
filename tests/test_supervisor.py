"""`orphanguard-run` is as if it weren't there: status, pipes, signals, terminals; and what it says of itself."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import PIDNS, QUOTED_RUN, RUN, no_pidns, state
from witness import DEATH, LIFE, Token, Watched, wait_for

MODES = pytest.mark.parametrize("mode", ["subreaper", PIDNS])


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *arguments], capture_output=True, text=True, timeout=DEATH, check=False, **options)


@contextlib.contextmanager
def running(*arguments: str, **options) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The supervisor, and the pid of the command when that is up."""
    status, write = os.pipe()
    descriptors = (write, *options.pop("pass_fds", ()))
    if options.pop("process_group", None) == 0:  # which is new in Python 3.11
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


# --- status


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


# --- what the command inherits


def report_of(*wrapper: str, **options) -> dict[str, str]:
    """What a process can see of where it is."""
    program = """
import json, os, signal
fds = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(100) if os.path.islink(f"/proc/self/fd/{fd}")}
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps(dict(fds=fds, ids=[os.getsid(0), os.getpgrp()], cwd=os.getcwd(), environ=dict(os.environ),
    **{name: status[name] for name in ("SigBlk", "SigIgn", "SigPnd", "Groups", "CapEff")})))
"""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=DEATH,
        **options,
    )
    found = json.loads(done.stdout)
    found["fds"]["1"] = "the pipe"
    return found


@pytest.mark.parametrize("setup", ["", "trap '' HUP CHLD PIPE INT;", "exec <&- 2>&-;", "ulimit -n 100;"])
def test_the_command_inherits_what_it_would(setup: str) -> None:
    read, write = os.pipe()
    options = {"pass_fds": [read, write], "stdin": subprocess.DEVNULL}
    shell = ["sh", "-c", setup + '"$@"; exit $?', "sh"]
    assert report_of(*shell, RUN, **options) == report_of(*shell, "env", **options)
    os.close(read)
    os.close(write)


def test_ends_of_files_arrive_as_without_it() -> None:
    """The command closes its output and lives on; nobody else has it open."""
    read, write = os.pipe()
    script = f"echo up; exec sleep 1000 >&- 2>&- <&- {write}>&-"
    with running("bash", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[write]) as (
        process,
        command,
    ):
        os.close(write)
        assert process.stdout.read() == b"up\n"
        assert os.read(read, 1) == b""
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"x")
        wait_for(lambda: state(command) == "S")
    os.close(read)


def test_stderr_that_is_a_pipe_ends_too() -> None:
    command = ["--verbose", "sh", "-c", "exec sleep 1000 2>&-"]
    with running(*command, stderr=subprocess.PIPE) as (process, _), process.stderr as stream:
        assert stream.read().endswith(b"containment subreaper\n")


def test_nobody_reads_the_status() -> None:
    """A full pipe, and one without a reader: the supervisor neither waits nor dies."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write, b"x" * 4096):
            pass
    os.set_blocking(write, True)
    assert run(f"--status-fd={write}", "sh", "-c", "exit 3", pass_fds=[write]).returncode == 3
    os.close(read)
    assert run(f"--status-fd={write}", "sh", "-c", "exit 4", pass_fds=[write]).returncode == 4
    os.close(write)


def test_children_of_whoever_executed_it_are_left_alone() -> None:
    script = f"sleep 1000 >&- 2>&- & echo $!; exec {QUOTED_RUN} echo ran"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    watched = Watched([int(done.stdout)])
    assert len(watched.alive(within=LIFE)) == 1
    watched.close()
    assert done.returncode == 125
    assert "has children already" in done.stderr


# --- signals

SAY = """
import os, signal, sys
def say(number, frame):
    os.write(1, b"%d " % number)
    if number == 15: os._exit(3)
for number in {1, 2, 3, 10, 12, 15, 18, 28, 34, 64}:
    signal.signal(number, say)
woken, wake = os.pipe()  # a signal between the interpreter's last look and a pause() would be heard with the next one
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
os.write(1, b"up ")
while True: os.read(woken, 1)
"""


def read_until(fd: int, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        assert select.select([fd], [], [], DEATH)[0], got
        got += os.read(fd, 1)
    return got


@MODES
def test_signals_are_passed_on(mode: str) -> None:
    with running(f"--tree={mode}", sys.executable, "-c", SAY, stdout=subprocess.PIPE) as (process, _):
        out = process.stdout.fileno()
        read_until(out, b"up ")
        for number in (1, 2, 3, 10, 12, 18, 28, 34, 64):
            process.send_signal(number)
            assert read_until(out, b" ") == b"%d " % number
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"15 "
        assert process.wait(timeout=DEATH) == 3


@MODES
def test_orders(mode: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [f"--tree={mode}", f"--control-fd={theirs.fileno()}", sys.executable, "-c", SAY]
        with running(*arguments, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as (process, _):
            out = process.stdout.fileno()
            read_until(out, b"up ")
            ours.send(bytes([10, 128 + 12]))
            assert sorted(read_until(out, b" ") + read_until(out, b" ")) == sorted(b"10 12 ")
            ours.send(bytes([128 + 9]))
            assert process.wait(timeout=DEATH) == -9


def test_told_to_end_it_gives_the_grace() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = ["--grace=1000s", f"--control-fd={theirs.fileno()}", sys.executable, "-c", SAY]
        with running(*arguments, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as (process, _):
            read_until(process.stdout.fileno(), b"up ")
            ours.send(b"\0")
            assert process.wait(timeout=DEATH) == 3
            assert b"15 " in process.stdout.read()


def test_the_end_of_the_control_fd_is_no_order() -> None:
    ours, theirs = socket.socketpair()
    with running(f"--control-fd={theirs.fileno()}", "sleep", "1000", pass_fds=[theirs.fileno()]) as (process, command):
        ours.close()
        theirs.close()
        watched = Watched([process.pid, command])
        assert len(watched.alive(within=LIFE)) == 2
        watched.close(kill=False)


@MODES
@pytest.mark.parametrize("sig", [signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN])
def test_it_stops_and_continues_with_the_command(mode: str, sig: signal.Signals) -> None:
    # In a group that has a parent in the session: in an orphaned one nobody stops by SIGTSTP.
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        os.kill(command, sig)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == sig
        assert state(command) == "T"
        process.send_signal(signal.SIGCONT)
        os.waitpid(process.pid, os.WCONTINUED)
        wait_for(lambda: state(command) == "S")
        wait_for(lambda: state(process.pid) == "S")
        os.kill(command, signal.SIGTERM)
        assert process.wait(timeout=DEATH) == -15


@MODES
def test_the_command_is_killed_while_both_are_stopped(mode: str) -> None:
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        os.kill(command, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        os.kill(command, signal.SIGKILL)
        assert process.wait(timeout=DEATH) == -9


@MODES
@pytest.mark.parametrize("whom", ["the group", "the supervisor"])
def test_stopped_and_continued_in_quick_succession(mode: str, whom: str) -> None:
    """However the two are interleaved: neither stays stopped."""
    with running(f"--tree={mode}", "sleep", "1000", process_group=0) as (process, command):
        for _ in range(100):
            os.kill(command, signal.SIGSTOP)
            if whom == "the group":
                os.killpg(process.pid, signal.SIGCONT)
            else:
                os.kill(process.pid, signal.SIGCONT)
        wait_for(lambda: (state(command), state(process.pid)) == ("S", "S"))
        os.kill(command, signal.SIGKILL)
        assert process.wait(timeout=DEATH) == -9


@MODES
def test_a_stopped_supervisor_wakes_for_the_parents_death(mode: str) -> None:
    token = Token()
    parent = subprocess.Popen(["sh", "-c", f"{QUOTED_RUN} --tree={mode} sleep 1000 & wait"], env=token.environment)
    try:
        supervisor = wait_for(
            lambda: [pid for pid in token.holders() if Path(f"/proc/{pid}/exe").readlink() == Path(RUN)]
        )[0]
        wait_for(lambda: len(token.holders()) >= 3)
        os.kill(supervisor, signal.SIGSTOP)
        wait_for(lambda: state(supervisor) == "T")
        parent.kill()
        parent.wait()
        assert token.survivors(within=DEATH) == []
    finally:
        parent.kill()
        parent.wait()
        token.clean_up()


# --- terminals


class Terminal:
    """A pseudo-terminal with a program as its session's leader."""

    def __init__(self, *command: str) -> None:
        self.token = Token()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**self.token.environment, "PS1": "$ ", "TERM": "dumb"})
        self.text = b""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> bytes:
        deadline = DEATH
        while text.encode() not in self.text:
            assert select.select([self.fd], [], [], deadline)[0], f"no {text!r} in {self.text!r}"
            try:
                got = os.read(self.fd, 4096)
            except OSError:
                got = b""
            assert got, f"no {text!r} in {self.text!r}"
            self.text += got
        before, _, self.text = self.text.partition(text.encode())
        return before

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        while self.token.holders():
            self.token.clean_up()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@pytest.fixture(params=["", QUOTED_RUN], ids=["without", "with"])
def wrapped(request) -> str:
    """Every terminal test is run without the supervisor as well, which is what it has to be like."""
    return request.param


@pytest.fixture
def terminal():
    opened = []

    def terminal(*command: str) -> Terminal:
        opened.append(Terminal(*command))
        return opened[-1]

    yield terminal
    for each in opened:
        each.close()


def test_ctrl_c_arrives_once(terminal, wrapped: str) -> None:
    shell = terminal("sh", "-c", f'trap : INT QUIT; {wrapped} "$0" -c "$1"; :', sys.executable, SAY)
    shell.expect("up ")
    shell.type("\x03")
    shell.expect("2 ")
    shell.type("\x1c")
    assert b"2 " not in shell.expect("3 ")
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    assert b"3 " not in shell.expect("28 ")


def test_ctrl_c_ends_a_loop_of_the_shell(terminal, wrapped: str) -> None:
    shell = terminal("bash", "-c", f"for i in 1 2 3; do {wrapped} sh -c 'echo up; exec sleep 1000'; done; echo looped")
    shell.expect("up")
    shell.type("\x03")
    wait_for(lambda: os.waitpid(shell.pid, os.WNOHANG)[0])
    wait_for(lambda: not shell.token.holders())


def test_job_control(terminal, wrapped: str) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} sh -c 'echo u''p; read line; echo \"got $line\"; sleep 0.1; exit 5'\n")
    shell.expect("up\r\n")
    shell.type("\x1a")  # Ctrl-Z
    shell.expect("Stopped")
    shell.expect("$ ")
    shell.type("jobs\n")
    shell.expect("Stopped")
    shell.type("bg\n")  # it reads from the terminal in the background: stopped again
    shell.expect("&")
    wait_for(lambda: shell.type("jobs; echo e''nd\n") or b"Stopped" in shell.expect("end\r\n"))
    shell.type("fg\n")
    shell.expect("read line")
    shell.type("hello\n")
    shell.expect("got hello")
    shell.type("echo status $?\n")
    shell.expect("status 5")


def test_a_pipeline_keeps_the_terminal(terminal, wrapped: str) -> None:
    """The pager reads the terminal, which belongs to the group that both are in."""
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} echo in''put | sh -c 'cat; read line </dev/tty; echo got $line'\n")
    shell.expect("input")
    shell.type("answer\n")
    shell.expect("got answer")


def test_the_terminal_hangs_up(terminal, wrapped: str) -> None:
    """As the session's leader the command would get SIGHUP, and nobody else."""
    program = "trap 'echo hung up >\"$0\"; exit' HUP; echo up; while :; do sleep 0.05; done"
    file = f"/tmp/orphanguard-hup-{os.getpid()}"
    session = terminal(*([RUN] if wrapped else []), "sh", "-c", program, file)
    try:
        session.expect("up")
        os.close(session.fd)
        wait_for(lambda: Path(file).exists() and Path(file).read_text() == "hung up\n")
    finally:
        Path(file).unlink(missing_ok=True)


def test_an_interactive_shell_below(terminal, wrapped: str) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.expect("$ ")
    shell.type(f"{wrapped} bash --norc -i\n")
    shell.type("echo in''ner\n")
    shell.expect("inner\r\n")
    shell.type("sleep 1000\n")
    shell.expect("sleep 1000")
    wait_for(lambda: any(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in shell.token.holders()))
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("exit 6\n")
    shell.expect("There are stopped jobs.")
    shell.type("exit 6\n")
    shell.type("echo status $?\n")
    shell.expect("status 6")

"""Trees of Debian's own programs, each a shell script, and a parent to start one below."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import orphanguard
from orphanguard._bin import RUN
from tests.support.proc import DEATH, children, state, wait_for
from tests.support.witness import Token, Watched

QUOTED_RUN = shlex.quote(RUN)  # for a shell: the checkout may be in a folder with a space in its name
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


@functools.cache
def public_run() -> str:
    """A copy that everybody can execute. The checkout may be below a folder that only its owner can enter."""
    directory = tempfile.mkdtemp(prefix="orphanguard-", dir="/var/tmp")
    atexit.register(shutil.rmtree, directory)
    os.chmod(directory, 0o755)
    copy = shutil.copyfile(RUN, f"{directory}/orphanguard-run")
    os.chmod(copy, 0o755)
    return copy


@functools.cache
def no_pidns(user: bool = os.geteuid() != 0) -> str:
    """Why no pid namespace is available here, in the words of unshare(1), which shares no code with us. In a chroot no
    user has one, nor where user namespaces are restricted."""
    namespaces = ["--user", "--pid"] if user else ["--pid"]
    who = NOBODY if user and os.geteuid() == 0 else {}
    done = subprocess.run(["unshare", *namespaces, "--fork", "true"], stderr=-1, text=True, check=False, **who)
    return done.stderr.strip() or "unshare can't" if done.returncode else ""


PIDNS = pytest.param("pidns", marks=pytest.mark.skipif(bool(no_pidns()), reason=no_pidns() or "can't be"))


@dataclass(frozen=True)
class Tree:
    script: str
    size: int  #: the tree is complete when it has so many processes
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    needs: str = "sh"  #: a program that some systems lack
    hidden: bool = False  #: it is not dumpable, so only root can read the token in its environment


TREES = {
    "pipeline": Tree("tail -f /dev/null | cat | cat | cat; :", 5),
    "make -j8": Tree("make -Bsj8 --eval 'all: a b c d e f g h' --eval 'a b c d e f g h: ; sleep 1000; :'; :", 18),
    "double fork, setsid": Tree("(setsid sh -c 'sleep 1000 & sleep 1000 &' &) ; sleep 1000; :", 4),
    "daemon": Tree(
        "start-stop-daemon --start --background --pidfile /nonexistent --exec /bin/sleep -- 1000; sleep 1000; :", 3
    ),
    "agent": Tree(
        "ssh-agent -a /tmp/orphanguard-agent-$$ >/dev/null; rm /tmp/orphanguard-agent-$$; sleep 1000; :",
        3,
        needs="ssh-agent",
        hidden=True,
    ),
    "wide": Tree("i=0; while [ $i -lt 1000 ]; do setsid sleep 1000 & i=$((i+1)); done; wait", 1001),
    "deep": Tree(
        'sh -c "$S" $N',
        1000,
        # Every hundredth level in a session of its own.
        environment={
            "S": '[ $0 = 0 ] && exec sleep 1000; case $0 in *00) w=setsid;; *) w=;; esac; $w sh -c "$S" $(($0-1)); :',
            "N": "999",
        },
    ),
    "bomb": Tree(
        'sh -c "$S" 8',
        100,
        environment={"S": '[ $0 -gt 0 ] && for i in 1 2; do setsid sh -c "$S" $(($0-1)) & done; sleep 1000; :'},
    ),
    "hydra": Tree(  # each head starts another and ends, but not for ever, whatever becomes of the test
        'for i in 1 2 3; do setsid sh -c "$S" 10000 & done; sleep 1000; :',
        2,
        environment={"S": '[ $0 -gt 0 ] && setsid sh -c "$S" $(($0-1)) & exit'},
    ),
    "ignores SIGTERM": Tree("trap '' TERM; setsid sleep 1000 & sleep 1000; :", 3, ("--signal=TERM", "--grace=100ms")),
    "stopped": Tree("sleep 1000 & kill -STOP $!; setsid sleep 1000 & kill -STOP $!; kill -STOP $$; :", 3),
    "terminal": Tree("script -qfc 'sleep 1000; :' /dev/null; :", 4),
}


def tree_of(name: str) -> Tree:
    tree = TREES[name]
    if shutil.which(tree.needs) is None:
        pytest.skip(f"{tree.needs} is not installed")
    if tree.hidden and os.geteuid() != 0:
        pytest.skip(f"only root can see {tree.needs}")
    return tree


#: Stays until it is killed.
PARENT = '"$@" & wait; read forever'


def left(token: Token, *but: int, within: float = DEATH) -> list[int]:
    """The pids with that token that live after ``within`` seconds at most, without ``but``."""

    def others() -> list[int]:
        return [pid for pid in token.holders() if pid not in but and state(pid) not in ("Z", "X", "")]

    with contextlib.suppress(AssertionError):
        wait_for(lambda: not others(), within)
    found = others()
    for pid in found:  # pytest shows it if the test fails
        with contextlib.suppress(OSError):
            print(Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/status").read_text())
    return found


class Started:
    """``parent``, a process that has started a tree; all are found by ``token``."""

    token: Token
    parent: subprocess.Popen[bytes]

    def left(self, within: float) -> list[int]:
        """The pids of the tree that live after ``within`` seconds at most, without the parent."""
        return left(self.token, self.parent.pid, within=within)

    def close(self) -> None:
        self.parent.kill()
        while self.token.holders():
            self.token.clean_up()
        self.parent.communicate()


class Family(Started):
    """A shell that has started a tree, by ``orphanguard-run`` or (``guarded=False``) by itself."""

    def __init__(self, tree: Tree, *options: str, guarded: bool = True, user: bool = False) -> None:
        self.token = Token()
        self.status, status = os.pipe()
        run = [public_run() if user else RUN, *tree.options, *options, f"--status-fd={status}", "--"] if guarded else []
        self.parent = subprocess.Popen(
            ["sh", "-c", PARENT, "parent", *run, "sh", "-c", tree.script],
            env={**self.token.environment, **tree.environment},
            pass_fds=[status],
            stdin=subprocess.PIPE,
            cwd="/tmp",
            **(NOBODY if user else {}),
        )
        os.close(status)
        self._lines = os.fdopen(self.status)
        self.guarded = guarded
        size = tree.size + (2 if guarded else 1)
        try:
            wait_for(lambda: len(self.token.holders()) >= size, DEATH)
            if guarded:
                self.started = self.event("started")
                self.command = self.started["command_pid"]
                (self.supervisor,) = children(self.parent.pid)
        except BaseException:
            self.close()
            raise

    def event(self, name: str) -> dict[str, object]:
        """The next event of that name that the supervisor reports."""
        for line in self._lines:
            found = json.loads(line)
            if found["event"] == name:
                return found
        raise AssertionError(f"no event {name!r} any more")

    def kill(self, *victims: str) -> None:
        """The parent, the supervisor, the command: all at once, as near as it gets."""
        watched = Watched([{"parent": self.parent.pid, **self._known()}[name] for name in victims])
        watched.kill()
        watched.close(kill=False)
        if "parent" in victims:
            self.parent.wait()

    def _known(self) -> dict[str, int]:
        return {"supervisor": self.supervisor, "command": self.command} if self.guarded else {}

    def close(self) -> None:
        super().close()
        with contextlib.suppress(AttributeError):
            self._lines.close()


@contextlib.contextmanager
def grown(name: str, *options: str, **how: bool) -> Iterator[Family]:
    running = Family(tree_of(name), *options, **how)
    try:
        yield running
    finally:
        running.close()


LEAVER = "setsid sleep 1000 & "  # a descendant that only the supervisor finds


@contextlib.contextmanager
def supervised(script: str, size: int, **keywords: Any) -> Iterator[tuple[Any, Token]]:
    token = Token()
    process = orphanguard.Popen(["sh", "-c", script], env=token.environment, **keywords)
    try:
        wait_for(lambda: len(token.holders()) == size + 1)  # and the supervisor
        yield process, token
    finally:
        token.clean_up()
        process.wait()
        if process.stdout:
            process.stdout.close()

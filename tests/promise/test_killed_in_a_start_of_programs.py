"""The parent is killed at each step of the start of a program: strace holds the parent or the child there."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess as standard
import sys
import time

import pytest

from tests.support.kernel import HOLD, injected, strace
from tests.support.proc import DEATH, LIFE, children_of, cmdline, wait_for
from tests.support.witness import ACTOR, Parent, Token, parent

LARGE = ("--memory=256", "--busy=1")

# The call at which strace holds the child, and the keyword by which the child makes that call.
HOLDS = {
    "before arming": ("fcntl", ""),
    "before stdio": ("dup2", ", stdout=DEVNULL"),
    "before its directory": ("chdir", ", cwd='/'"),
    "before the second layer": ("prctl", ""),
    "before it has fds of its own": ("close_range", ""),
    "before exec": ("execve", ""),
    "close_fds=False, before arming": ("fcntl", ", close_fds=False"),
    "close_fds=False, before the alive check": ("poll", ", close_fds=False"),
    "user, before arming": ("fcntl", ", user=65534"),
    "user, before its ids": ("setreuid", ", user=65534"),
    "user, before the alive check": ("poll", ", user=65534"),
    "preexec_fn, before arming": ("fcntl", ", preexec_fn=os.getpid"),
    "preexec_fn, before the alive check": ("poll", ", preexec_fn=os.getpid"),
}


def killed_while_held(thread: str, start: str, *injections: str, size: tuple[str, ...] = (), library: str) -> list[int]:
    """The children that are left when the parent is gone and strace holds nobody any more."""
    with parent("programs", thread, library, start, *size, wrapper=injected(*injections)) as tracer:
        [actor] = wait_for(lambda: children_of(tracer.process.pid, "programs.py", "strace"))
        actors = tracer.watch([actor])
        children = tracer.watch(wait_for(lambda: children_of(actor)))
        actors.kill()
        assert actors.alive(within=DEATH) == []
        return children.alive(within=DEATH if library == "guarded" else HOLD / 1e6 + LIFE)


@strace
@pytest.mark.parametrize(("thread", "size"), [("main", ()), ("running", LARGE)], ids=["main", "thread, large, busy"])
@pytest.mark.parametrize("where", HOLDS)
def test_killed_while_the_child_is_held(where: str, thread: str, size: tuple[str, ...], needs_root_for) -> None:
    call, options = HOLDS[where]
    needs_root_for("user" in options, "only root can start a program as somebody else")
    if call == "prctl" and thread != "main":
        pytest.skip("there is only one layer in children of other threads")
    held = f"{call}:delay_enter={HOLD}:when=1"
    assert killed_while_held(thread, f"Popen(SLEEP{options})", held, size=size, library="guarded") == []


@strace
@pytest.mark.parametrize("where", ["before stdio", "before its directory", "before exec", "user, before its ids"])
def test_killed_while_the_child_is_held_unguarded(where: str, needs_root_for) -> None:
    call, options = HOLDS[where]
    needs_root_for("user" in options, "only root can start a program as somebody else")
    held = f"{call}:delay_enter={HOLD}:when=1"
    assert len(killed_while_held("main", f"Popen(SLEEP{options})", held, library="unguarded")) == 1


RETURNS = {
    "clone3": ("clone3:delay_exit={0}",),
    "legacy clone": ("clone3:error=ENOSYS", "clone:delay_exit={0}"),
}


@strace
@pytest.mark.parametrize("library", ["guarded", "unguarded"])
@pytest.mark.parametrize("call", RETURNS)
def test_killed_while_clone_returns(call: str, library: str) -> None:
    """The child runs, and the parent does not know its pid yet."""
    injections = [injection.format(HOLD) for injection in RETURNS[call]]
    left = killed_while_held("main", "Popen(SLEEP, stdout=DEVNULL)", *injections, library=library)
    assert len(left) == (0 if library == "guarded" else 1)


@strace
@pytest.mark.parametrize(
    "where", ["before arming", "before it has fds of its own", "close_fds=False, before the alive check"]
)
def test_held_under_docker(where: str) -> None:
    call, options = HOLDS[where]
    injections = ("clone3:error=ENOSYS", f"{call}:delay_enter={HOLD}:when=1")
    assert killed_while_held("main", f"Popen(SLEEP{options})", *injections, library="guarded") == []


# The last start of a parent. strace holds its child while the parent dies; that child may have copies of the tether.
YOUNGEST = {
    "ours": "Popen(SLEEP, cwd='/')",
    "ours, close_fds=False": "Popen(SLEEP, cwd='/', close_fds=False)",
    "ours, pass_fds": "Popen(SLEEP, cwd='/', pass_fds=[1, os.dup2(1, 199), os.dup2(1, 205), os.dup2(1, 300)])",
    "ours, preexec_fn": "Popen(SLEEP, cwd='/', preexec_fn=os.getpid)",
    "the standard library's": "standard.Popen(SLEEP, cwd='/')",
    "the standard library's, close_fds=False": "standard.Popen(SLEEP, cwd='/', close_fds=False)",
    "the standard library's, preexec_fn": "standard.Popen(SLEEP, cwd='/', preexec_fn=os.getpid)",
}

ELDER = ("Popen(SLEEP)", "Popen(SLEEP, close_fds=False)", "Popen(SLEEP, preexec_fn=os.getpid)", "Popen(SLEEP)")


@strace
@pytest.mark.parametrize("more", [(), ("close_range:error=EPERM",)], ids=["", "without close_range"])
@pytest.mark.parametrize("which", YOUNGEST)
def test_killed_while_a_younger_sibling_is_held(which: str, more: tuple[str, ...]) -> None:
    """Another thread may be in the middle of a start. The elder siblings must die when its child lets go of its copies,
    in whatever order."""
    elder_are_gone("chdir", ELDER, YOUNGEST[which], *more, theirs="standard" in which)


@strace
def test_killed_while_a_younger_sibling_shares_its_fds() -> None:
    """Our child shares its parent's table of fds until it calls close_range(), and keeps that table alive until
    then."""
    elder_are_gone("close_range", ("Popen(SLEEP, close_fds=False)",) * 4, "Popen(SLEEP)")


def elder_are_gone(call: str, elder: tuple[str, ...], youngest: str, *more: str, theirs: bool = False) -> None:
    held = injected(f"{call}:delay_enter={HOLD}:when=1", *more)
    with parent("programs", "ended", "guarded", *elder, youngest, wrapper=held) as tracer:
        [actor] = wait_for(lambda: children_of(tracer.process.pid, "programs.py", "strace"))
        pids = wait_for(lambda: (found := children_of(actor)) and len(found) == len(elder) + 1 and found)
        [held_one] = children_of(actor, "programs.py")
        actors, last = tracer.watch([actor]), tracer.watch([held_one])
        others = tracer.watch(pid for pid in pids if pid != held_one)
        actors.kill()
        assert actors.alive(within=DEATH) == []
        assert others.alive(within=DEATH) == []
        assert last.alive(within=HOLD / 1e6 + LIFE if theirs else DEATH) == ([held_one] if theirs else [])


YOUNGER = """
import os, sys, threading
from orphanguard import subprocess
import subprocess as standard
os.dup2(1, 500)
subprocess.run(["true"])
def hold():
    subprocess.Popen(["sleep", "1000"], cwd="/", {options})
def start():
    while not held():
        pass
    print("held", flush=True)
    for _ in range(2):
        subprocess.Popen(["sleep", "1000"], guard={guard})
def held():
    path = f"/proc/self/task/{{holder.native_id}}/children"
    return holder.native_id and open(path).read()
holder = threading.Thread(target=hold)
holder.start()
threading.Thread(target=start).start()
sys.stdin.read()
"""


@strace
@pytest.mark.parametrize("options", ["", "pass_fds=[500]", "close_fds=False", "stdout=500"])
def test_killed_while_an_elder_sibling_is_held(options: str) -> None:
    """The held child has copies of the tether that the parent had then. A younger child must not depend on them."""
    assert killed_with_younger_ones(options, "True") == []


@strace
def test_killed_while_an_elder_sibling_is_held_unguarded() -> None:
    assert len(killed_with_younger_ones("guard=False", "False")) == 3


def killed_with_younger_ones(options: str, guard: str) -> list[int]:
    token = Token()
    command = [sys.executable, "-c", YOUNGER.format(options=options, guard=guard)]
    tracer = standard.Popen(
        [*injected(f"chdir:delay_enter={2 * HOLD}:when=1"), *command],
        env=token.environment,
        stdin=standard.PIPE,
        stdout=standard.PIPE,
    )
    try:
        assert tracer.stdout is not None
        tracer.stdout.readline()
        time.sleep(HOLD / 4e6)  # by then the younger ones are there, unless their starts wait for the held child's exec
        [actor] = children_of(tracer.pid)
        os.kill(actor, signal.SIGKILL)
        time.sleep(3 * HOLD / 1e6)
        return [pid for pid in token.holders() if pid != tracer.pid and "sleep" in (cmdline(pid) or "")]
    finally:
        tracer.kill()
        token.clean_up()
        tracer.communicate()


WITHOUT_END = """
from programs import *
from programs import subprocess as og
ballast = burden({memory})
def start():
    keep = []
    say(ready=True)
    while True:
        keep.append(og.Popen(SLEEP, guard={guard}{options}))
        if len(keep) > 10:
            old = keep.pop(0); old.kill(); old.wait()
if {thread!r} == "main":
    start()
threads = [threading.Thread(target=start) for _ in range(3)]
[thread.start() for thread in threads]
"""


@pytest.mark.parametrize(
    ("thread", "options", "guard"),
    [
        ("main", "", True),
        ("three", "", True),
        ("three", ", close_fds=False", True),
        ("main", ", preexec_fn=os.getpid", True),
        ("main", "", False),
    ],
)
def test_killed_at_random_times(thread: str, options: str, guard: bool) -> None:
    dice = random.Random(thread + options)
    program = ACTOR + WITHOUT_END.format(memory=64, thread=thread, options=options, guard=guard)
    for _ in range(4 if guard else 1):
        token = Token()
        with contextlib.closing(Parent("-c", program, env=token.environment)) as starter:
            try:
                assert starter.read() == {"ready": True}
                time.sleep(dice.uniform(0, 0.1) if guard else 0.5)  # no synchronisation: a random moment
                starter.kill()
                starter.ended()
                left = token.survivors(within=DEATH if guard else LIFE)
                assert not left if guard else left
            finally:
                token.clean_up()

"""A fork that has not run yet when its parent dies. What happens today, and not what should: whoever mends it changes
the rows of it in README and docs (`What defeats a lifeline`)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from witness import DEATH, LIFE, Token, Watched

PARENT = """
import ctypes, json, os, sys, threading, time
held, thread = sys.argv[1:]
if held == "held":  # a child handler that is older than ours: the fork stays in it, as one does that gets no processor
    libc = ctypes.CDLL(None)
    register = getattr(libc, "__register_atfork", None) or libc.pthread_atfork
    register(None, None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
import orphanguard
orphanguard.Popen  # loaded: from now on each fork has a copy of the write end
sibling = os.fork()
if not sibling:
    time.sleep(1000)
def start():
    global program
    program = orphanguard.Popen(["sleep", "1000"])
    print(json.dumps([sibling, program.pid, program.guard.defeated_by]), flush=True)
if thread == "main":
    start()
else:
    threading.Thread(target=start).start()
time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("held", "thread", "lives"),
    [("held", "another", True), ("held", "main", False), ("not held", "another", False)],
)
def test_a_younger_program(held: str, thread: str, lives: bool) -> None:
    token, watched = Token(), ()
    command = [sys.executable, "-c", PARENT, held, thread]
    parent = subprocess.Popen(command, env=token.environment, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        sibling, program, defeated_by = json.loads(parent.stdout.readline())
        assert any("has not run yet" in why for why in defeated_by) == (thread == "another")
        programs, siblings = watched = Watched([program]), Watched([sibling])
        parent.kill()
        parent.wait()
        if held == "held":
            siblings.kill()  # the last write end goes
        assert programs.alive(within=LIFE if lives else DEATH) == ([program] if lives else [])
    finally:
        for each in watched:
            each.close()
        token.clean_up()
        parent.kill()
        parent.communicate()

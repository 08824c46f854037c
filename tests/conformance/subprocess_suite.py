"""CPython's own tests of subprocess and of asyncio's subprocesses, with orphanguard in the place of subprocess.

    python subprocess_suite.py {subprocess,asyncio,created,uvloop,tree} [-k PATTERN] [--stock] [--timeout SECONDS]
                               [--results DIR]

See runner.py. "asyncio" tests a plain event loop, whose programs our Popen starts. "created" tests our
create_subprocess_exec and create_subprocess_shell in asyncio's loop; "uvloop" tests the same two in uvloop's loop,
where it is installed, and compares with the standard two in that loop. "tree" is "subprocess" with each program under a
supervisor.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import runner

OURS = ("Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run")


def take_the_place_of_subprocess() -> None:
    import subprocess

    from orphanguard import subprocess as guarded

    if runner.SUITE == "tree":

        class TreePlan(guarded.Plan):
            def __init__(self, death_signal: Any, guard: bool, tree: Any, grace: Any) -> None:
                super().__init__(death_signal, guard, True if guard and tree is False else tree, grace)

        guarded.Plan = TreePlan
        with guarded.Popen(["true"]) as program:
            assert program.containment == "subreaper"  # or this suite would prove nothing
    standard = subprocess.Popen
    start = standard._execute_child

    def refuse_unguarded_start(self: Any, *args: Any) -> None:
        if not isinstance(self, guarded.Popen):
            raise RuntimeError(f"{self.args!r} would be started by the standard library, without a guard")
        start(self, *args)

    standard._execute_child = refuse_unguarded_start  # this proves that no test gets by us

    class OneModule(ModuleType):
        """What a test replaces in subprocess is replaced in our module too, where our functions look for it."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name in OURS:
                setattr(guarded, name, value)

    subprocess.__class__ = OneModule
    for name in OURS:
        setattr(subprocess, name, getattr(guarded, name))


def take_the_place_of_create() -> None:
    import asyncio

    from orphanguard import asyncio as guarded

    for name in ("create_subprocess_exec", "create_subprocess_shell"):
        setattr(asyncio, name, getattr(guarded, name))
        setattr(asyncio.subprocess, name, getattr(guarded, name))


if runner.SUITE in ("created", "uvloop"):
    import unittest

    if not runner.STOCK:
        take_the_place_of_create()
    from test.test_asyncio.test_subprocess import SubprocessMixin

    if runner.SUITE == "created":
        from asyncio import SelectorEventLoop as Loop
    else:
        from uvloop import Loop

    class CreatedTests(SubprocessMixin, unittest.TestCase):
        """The tests of CPython that need no child watcher."""

        def setUp(self) -> None:
            self.loop = Loop()
            self.addCleanup(self.loop.close)

    CreatedTests.__qualname__ = f"{runner.SUITE.capitalize()}Tests"  # for left_out.txt

elif runner.SUITE:
    if not runner.STOCK:
        take_the_place_of_subprocess()
    if runner.SUITE == "asyncio":
        from test.test_asyncio.test_subprocess import *  # noqa: F403
    else:
        from test.test_subprocess import *  # noqa: F403


if __name__ == "__main__":
    runner.main(__file__, ("subprocess", "asyncio", "created", "uvloop", "tree"))

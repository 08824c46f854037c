"""CPython's own tests of subprocess and of asyncio's subprocesses, with orphanguard in the place of subprocess.

    python subprocess_suite.py {subprocess,asyncio,tree} [-k PATTERN] [--stock] [--timeout SECONDS] [--results DIR]

See runner.py. What is tested under "asyncio" is a plain event loop whose programs are started by our Popen. "tree" is
"subprocess" with each program under a supervisor.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import runner

OURS = ("Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run")


def take_the_place_of_subprocess() -> None:
    import subprocess

    from orphanguard import subprocess as guarded
    from orphanguard._supervisor import Options

    if runner.SUITE == "tree":
        guarded.Popen._tree = Options(True, None, None)
    standard = subprocess.Popen
    start = standard._execute_child

    def refuse_unguarded_start(self: Any, *args: Any) -> None:
        if not isinstance(self, guarded.Popen):
            raise RuntimeError(f"{self.args!r} would be started by the standard library, without a guard")
        start(self, *args)

    standard._execute_child = refuse_unguarded_start  # proof that no test gets by us

    class OneModule(ModuleType):
        """What a test replaces in subprocess, our functions find replaced in their own module."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name in OURS:
                setattr(guarded, name, value)

    subprocess.__class__ = OneModule
    for name in OURS:
        setattr(subprocess, name, getattr(guarded, name))


if runner.SUITE:
    if not runner.STOCK:
        take_the_place_of_subprocess()
    if runner.SUITE == "asyncio":
        from test.test_asyncio.test_subprocess import *  # noqa: F403
    else:
        from test.test_subprocess import *  # noqa: F403


if __name__ == "__main__":
    runner.main(__file__, ("subprocess", "asyncio", "tree"))

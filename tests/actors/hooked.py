"""Programs that plain subprocess starts with a hook: main|ended|asyncio HOOK OPTIONS. Prints their pids.

Executes the Python statements that it reads on stdin then.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from tests.support.actor import obey, run_in, say

assert orphanguard.__name__


def main() -> None:
    where, hook, options = sys.argv[1:]
    pids: list[int] = []

    def start() -> None:
        for _ in range(2):
            keywords = eval(f"dict(preexec_fn={hook}, {options})")
            pids.append(subprocess.Popen(["sleep", "1000"], **keywords).pid)

    async def start_in_a_loop() -> None:
        for _ in range(2):
            process = await asyncio.create_subprocess_exec("sleep", "1000", preexec_fn=eval(hook))
            pids.append(process.pid)
        say(children=pids)
        await asyncio.sleep(1000)

    if where == "asyncio":
        asyncio.run(start_in_a_loop())
    run_in(where, start)
    say(children=pids, pid=os.getpid())
    obey(globals())


if __name__ == "__main__":
    main()

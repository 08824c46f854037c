"""Programs that a loop starts: main|running|ended guarded|plain asyncio|uvloop. Prints their pids.

"running", "ended": by a loop in a thread that goes on, or that has ended.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from tests.support.actor import obey, run_in, say

where, kind, loop = sys.argv[1:]
if loop == "uvloop":
    import uvloop

    run = uvloop.run
else:
    run = asyncio.run
create_exec = orphanguard.create_subprocess_exec if kind == "guarded" else asyncio.create_subprocess_exec
create_shell = orphanguard.create_subprocess_shell if kind == "guarded" else asyncio.create_subprocess_shell
processes = []


async def start() -> None:
    processes.append(await create_exec("sleep", "1000"))
    processes.append(await create_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    processes.append(await create_shell("exec sleep 1000"))


async def start_and_stay() -> None:
    await start()
    say(children=[process.pid for process in processes])
    await asyncio.Event().wait()


if where == "main":
    run(start_and_stay())
elif where == "running":
    threading.Thread(target=run, args=(start_and_stay(),)).start()
else:
    run_in("ended", lambda: run(start()))
    say(children=[process.pid for process in processes])
obey(globals())

"""Foreign children, of plain multiprocessing or scripts, that arm themselves: KIND THREAD CALL.

KIND: a start method, "executor", "pool" or "script". THREAD: which thread starts them: "main", one that has "ended", or
one that is still "running". CALL: an expression, whose value each child calls: orphanguard.die_with_parent, say.
Prints their pids and what they say of their guards, then executes the Python statements that it reads on stdin.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard
from orphanguard._core import arming
from tests.support.actor import idle, joined, obey, run_in, say


def nothing() -> None:
    pass


SEEN: dict[str, object] = {}


def look() -> None:
    SEEN["seen"] = {"pdeathsig": arming.pdeathsig(), "layers": report()["layers"]}


def arm_pdeathsig() -> None:
    arming.arm_pdeathsig(signal.SIGKILL)
    look()


def in_a_thread(function) -> None:
    def run() -> None:
        try:
            if (guard := function()) is not None:
                SEEN["returned"] = list(guard.layers)
        except OSError as caught:
            SEEN["raised"] = f"{type(caught).__name__}: {caught}"

    thread = threading.Thread(target=run)
    thread.start()
    joined(thread)


def report() -> dict[str, object]:
    from orphanguard._core.guard import current_guard

    guard = current_guard()
    return {
        "pid": os.getpid(),
        "layers": list(guard.layers) if guard else [],
        "scope": guard.scope if guard else None,
        **SEEN,
    }


def child(queue, call: str) -> None:
    error = ""
    try:
        eval(call)()
    except OSError as caught:
        error = f"{type(caught).__name__}: {caught}"
    queue.put({**report(), "error": error})
    idle()


def report_and_stay(queue) -> None:
    queue.put({**report(), "error": ""})
    idle()


def main() -> None:
    kind, thread, call = sys.argv[1:]
    assert signal.SIGUSR1
    eval(call)  # loads the shim before the fork
    method = kind if kind in ("fork", "spawn", "forkserver") else "fork"
    ctx = multiprocessing.get_context(method)
    queue = ctx.Queue()
    keep: list[object] = []

    def start() -> None:
        if kind == "script":
            program = (
                f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import orphanguard, dying\n"
                f"if {call!r} != 'nothing': eval({call!r}, vars(dying))()\n"
                "dying.say(**dying.report()); dying.idle()"
            )
            for _ in range(2):
                process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
                keep.append(process)
        elif kind == "executor":
            executor = ProcessPoolExecutor(2, mp_context=ctx, initializer=eval(call))
            keep.append((executor, [executor.submit(report_from_a_worker) for _ in range(2)]))
        elif kind == "pool":
            pool = ctx.Pool(2, initializer=eval(call))
            keep.append((pool, [pool.apply_async(report_from_a_worker) for _ in range(2)]))
        else:
            for _ in range(2):
                process = ctx.Process(target=child, args=(queue, call))
                process.start()
                keep.append(process)

    global QUEUE
    QUEUE = queue
    run_in(thread, start)
    if kind == "script":
        import json

        answers = [json.loads(process.stdout.readline()) for process in keep]  # type: ignore[attr-defined]
    else:
        answers = [queue.get() for _ in range(2)]
    assert orphanguard.__name__
    say(children=[answer["pid"] for answer in answers], **{k: v for k, v in answers[0].items() if k != "pid"})
    obey(globals())


QUEUE = None


def report_from_a_worker() -> None:
    report_and_stay(QUEUE)


if __name__ == "__main__":
    main()

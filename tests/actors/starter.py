"""Starts children without end: METHOD THREAD guarded|plain COUNT [--memory MIB] [--busy N] [--payload KIB].

Prints {"ready": true} when it is about to start. With COUNT 0 it goes on until it is killed, and keeps ten alive.
"""

from __future__ import annotations

import sys

from family import GUARDED, context

from tests.support.actor import burden, idle, run_in, say

assert isinstance(GUARDED, bool)


def nothing(payload: object) -> None:
    idle()


def main() -> None:
    method, thread, _, count, *rest = sys.argv[1:]
    options = dict(zip(rest[::2], map(int, rest[1::2]), strict=True))
    ballast = burden(options.get("--memory", 0), options.get("--busy", 0))
    ctx = context(method)
    payload = b"p" * (options.get("--payload", 0) << 10)

    def start() -> None:
        processes = []
        say(ready=True)
        while not int(count) or len(processes) < int(count):
            process = ctx.Process(target=nothing, args=(payload,))  # type: ignore[attr-defined]
            process.start()
            processes.append(process)
            if not int(count) and len(processes) > 10:
                old = processes.pop(0)
                old.kill()
                old.join()
        say(children=[process.pid for process in processes])
        idle()

    run_in(thread, start)
    assert ballast is not None


if __name__ == "__main__":
    main()

"""Starts children without end: METHOD THREAD guarded|plain COUNT [--memory MIB] [--busy N].

Prints {"ready": true} when it is about to start. With COUNT 0 it goes on until it is killed, keeping ten alive.
"""

from __future__ import annotations

import sys
import threading

from family import GUARDED, burn, context, idle, say

assert isinstance(GUARDED, bool)


def nothing(payload: object) -> None:
    idle()


def main() -> None:
    method, thread, _, count, *rest = sys.argv[1:]
    options = dict(zip(rest[::2], map(int, rest[1::2]), strict=True))
    memory = bytearray(options.get("--memory", 0) << 20)
    memory[::4096] = b"x" * len(memory[::4096])
    for _ in range(options.get("--busy", 0)):
        threading.Thread(target=burn, daemon=True).start()
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

    if thread == "main":
        start()
    else:
        worker = threading.Thread(target=start, daemon=True)
        worker.start()
        worker.join()


if __name__ == "__main__":
    main()

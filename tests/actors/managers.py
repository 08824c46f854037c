"""Starts children by the classes of submodules, with no context given: METHOD KIND guarded|plain.

Prints the pids of the children: servers, workers at work, a child that has been given a proxy.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from family import GUARDED

from tests.support.actor import idle, say

if GUARDED:
    from orphanguard.multiprocessing import context, pool
    from orphanguard.multiprocessing.managers import BaseManager, SharedMemoryManager, SyncManager
else:
    from multiprocessing import context, pool
    from multiprocessing.managers import BaseManager, SharedMemoryManager, SyncManager


class Thing:
    def pid(self) -> int:
        return os.getpid()


class ThingManager(BaseManager):
    pass


ThingManager.register("Thing", Thing)


def report_and_idle(proxy, reports) -> None:
    reports.put((os.getpid(), proxy.pid()))
    idle()


def report(reports) -> None:
    reports.put(os.getpid())
    idle()


def main() -> None:
    method, kind, _ = sys.argv[1:]
    multiprocessing.set_start_method(method)
    home = __import__("orphanguard").multiprocessing if GUARDED else multiprocessing
    if kind == "BaseManager":
        manager = ThingManager()
        manager.start()
        reports = home.SimpleQueue()
        thing = manager.Thing()  # kept, since the server forgets it with its last proxy
        child = home.Process(target=report_and_idle, args=(thing, reports), daemon=True)
        child.start()
        children = [*reports.get()]
        # connect() starts nothing, and finds the same server.
        other = ThingManager(address=manager.address, authkey=multiprocessing.current_process().authkey)
        other.connect()
        assert other.Thing().pid() == children[1]
        globals()["kept"] = child, thing
    elif kind == "SyncManager":
        manager = SyncManager()
        manager.start()
        children = [manager._process.pid]
        assert manager.dict(a=1)["a"] == 1
    elif kind == "SharedMemoryManager":
        manager = SharedMemoryManager()
        manager.start()
        children = [manager._process.pid]
        assert list(manager.ShareableList([1, 2])) == [1, 2]
    elif kind in ("Pool", "SyncManager.Pool"):
        manager = SyncManager()
        manager.start()
        reports = manager.Queue()
        workers = pool.Pool(2) if kind == "Pool" else manager.Pool(2)
        tasks = [workers.apply_async(report, (reports,)) for _ in range(2)]
        children = [reports.get() for _ in tasks]
    else:
        names = {"fork": "ForkContext", "spawn": "SpawnContext", "forkserver": "ForkServerContext"}
        ctx = getattr(context, names[method])()
        reports = ctx.SimpleQueue()
        started = [ctx.Process(target=report, args=(reports,), daemon=True)]
        if kind == "context.Process":
            reports = home.SimpleQueue()
            started = [context.Process(target=report, args=(reports,), daemon=True)]
        started[0].start()
        children = [reports.get()]
    say(children=children)
    idle()


if __name__ == "__main__":
    main()

"""What type checkers make of the public names. Type-checked, never run.

Each `type: ignore` stands where a checker must object: one that is not needed is an error (`make lint`).
"""

from __future__ import annotations

import asyncio as standard_asyncio
import subprocess as standard_subprocess
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.context import BaseContext, ForkContext, ForkServerContext, SpawnContext
from multiprocessing.context import Process as StandardProcess
from multiprocessing.managers import SyncManager
from multiprocessing.pool import Pool as StandardPool
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any, Literal

from typing_extensions import assert_type

import orphanguard
from orphanguard import asyncio, futures, multiprocessing, subprocess
from orphanguard.multiprocessing import managers, synchronize
from orphanguard.multiprocessing.pool import Pool


def square(n: int) -> int:
    return n * n


def popen(flag: bool, words: Sequence[str], text: bool | None, tree: Literal["cgroup", "pidns"]) -> None:
    assert_type(orphanguard.Popen(["x"]), orphanguard.Popen[bytes])
    assert_type(subprocess.Popen("x", shell=True, bufsize=0), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(words, -1, None, subprocess.PIPE), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(["x"], text=False, universal_newlines=None), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(["x"], text=True), subprocess.Popen[str])
    assert_type(subprocess.Popen(["x"], encoding="utf-8"), subprocess.Popen[str])
    assert_type(subprocess.Popen(["x"], errors="replace"), subprocess.Popen[str])
    assert_type(subprocess.Popen(["x"], universal_newlines=True), subprocess.Popen[str])
    assert_type(subprocess.Popen(["x"], text=text), subprocess.Popen[Any])
    standard: standard_subprocess.Popen[bytes] = subprocess.Popen(["x"])
    assert_type(standard.wait(1), int)

    subprocess.Popen(["x"], death_signal=15, guard=True)
    subprocess.Popen(["x"], death_signal="SIGTERM", guard=flag)
    subprocess.Popen(["x"], tree=flag, grace=1)
    subprocess.Popen(["x"], tree="subreaper", grace=0.5, text=True)
    subprocess.Popen(["x"], tree=tree, process_group=0, pipesize=4096, user="nobody", umask=0o22)
    with subprocess.Popen(["x"], tree=tree) as p:
        assert_type(p, subprocess.Popen[bytes])
        assert_type(p.guard, orphanguard.Guard | None)
        assert_type(p.command_pid, int | None)
        assert_type(p.containment, Literal["subreaper", "cgroup", "pidns"] | None)
        assert_type(p.communicate(), tuple[bytes, bytes])

    subprocess.Popen()  # type: ignore[call-overload]
    subprocess.Popen(["x"], tree="podman")  # type: ignore[call-overload]
    subprocess.Popen(["x"], grace="1s")  # type: ignore[call-overload]
    subprocess.Popen(["x"], death_signal=1.5)  # type: ignore[call-overload]
    subprocess.Popen(["x"], guard="no")  # type: ignore[call-overload]
    subprocess.Popen(["x"], dead_signal=15)  # type: ignore[call-overload]
    subprocess.Popen(["x"]).command_pdi  # type: ignore[attr-defined]
    subprocess.Popen(["x"]).guard = None  # type: ignore[misc]


def run(words: Sequence[str], text: bool) -> None:
    assert_type(subprocess.run(words), subprocess.CompletedProcess[bytes])
    assert_type(orphanguard.run(["x"], tree=True), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["x"], text=True, input="a", check=True), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["x"], encoding="utf-8", timeout=1.5), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["x"], universal_newlines=True, grace=2), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["x"], text=text), subprocess.CompletedProcess[Any])
    assert_type(orphanguard.call(["x"], timeout=1, death_signal="SIGHUP"), int)
    assert_type(orphanguard.check_call("x", shell=True, tree="pidns"), int)
    assert_type(orphanguard.check_output(["x"], tree="cgroup"), bytes)
    assert_type(subprocess.check_output(["x"], text=True, input="a"), str)
    assert_type(subprocess.check_output(["x"], errors="strict"), str)
    assert_type(subprocess.getoutput("x"), str)
    assert_type(subprocess.getstatusoutput("x", encoding="utf-8"), tuple[int, str])
    assert_type(subprocess.PIPE, int)
    assert_type(subprocess.TimeoutExpired(["x"], 1).timeout, float)

    subprocess.run(["x"], tree="podman")  # type: ignore[call-overload]
    subprocess.run(["x"], input=1)  # type: ignore[call-overload]
    subprocess.run(["x"], timeout="1")  # type: ignore[call-overload]
    subprocess.call(["x"], tree="podman")  # type: ignore[arg-type]
    subprocess.check_call(["x"], check=True)  # type: ignore[call-arg]
    subprocess.check_output(["x"], stdout=subprocess.PIPE)  # type: ignore[call-overload]
    subprocess.no_such_name  # type: ignore[attr-defined]
    orphanguard.no_such_name  # type: ignore[attr-defined]


def processes() -> None:
    p = orphanguard.Process(target=square, args=(2,), daemon=True, tree="pidns", grace=1)
    assert_type(p.guard, orphanguard.Guard | None)
    assert_type(p.command_pid, int | None)
    assert_type(p.containment, Literal["subreaper", "cgroup", "pidns"] | None)
    standard: StandardProcess = p
    standard.join()

    pool: StandardPool = orphanguard.Pool(2, square, (1,), maxtasksperchild=3)
    assert_type(pool.map(square, [1]), list[int])
    manager: SyncManager = multiprocessing.Manager()
    manager.shutdown()
    mine: SyncManager = managers.SyncManager(ctx=None)
    assert_type(managers.BaseManager.register("x"), None)
    assert_type(multiprocessing.pool.Pool(2), Pool)
    other: StandardPool = multiprocessing.pool.ThreadPool(2)
    mine.start()
    other.close()
    assert_type(orphanguard.wait([orphanguard.Popen(["x"])]), list[orphanguard.Popen[bytes]])

    orphanguard.Process(square)  # type: ignore[arg-type]
    orphanguard.Process(target=square, tree="podman")  # type: ignore[arg-type]
    orphanguard.Process(target=square, death_signal=15)  # type: ignore[call-arg]
    orphanguard.Pool("2")  # type: ignore[arg-type]
    orphanguard.Pool(2, tree=True)  # type: ignore[call-arg]
    multiprocessing.no_such_name  # type: ignore[attr-defined]


def contexts(name: str) -> None:
    fork: ForkContext = orphanguard.get_context("fork")
    spawn: SpawnContext = multiprocessing.get_context("spawn")
    forkserver: ForkServerContext = multiprocessing.get_context("forkserver")
    default: BaseContext = multiprocessing.get_context()
    named: BaseContext = multiprocessing.get_context(name)
    assert_type(fork.get_start_method(), str)
    assert_type(spawn.Queue(), Queue[Any])
    print(forkserver.Event(), default.Lock(), named.RLock())
    for context in (orphanguard.get_context(), orphanguard.get_context(name), orphanguard.get_context("fork")):
        p = context.Process(target=square, args=(1,), tree=True)
        p.start()
        assert_type(p.guard, orphanguard.Guard | None)
        assert_type(context.Pool(2).map(square, [1]), list[int])
    q = orphanguard.get_context("spawn").get_context("fork").Process(target=square, grace=1)
    assert_type(q.exitcode, int | None)

    orphanguard.get_context(1)  # type: ignore[call-overload]
    orphanguard.get_context("spawn").Process(target=square, tree="podman")  # type: ignore[arg-type]


def the_rest_of_multiprocessing() -> None:
    queue: multiprocessing.Queue[int] = multiprocessing.Queue()
    assert_type(queue.get(), int)
    event: multiprocessing.synchronize.Event = multiprocessing.Event()
    lock: synchronize.Lock = multiprocessing.Lock()
    with lock:
        assert_type(event.wait(1), bool)
    ours, theirs = multiprocessing.Pipe()
    ours.send(1)
    theirs.close()
    with multiprocessing.Value("i", 0).get_lock():
        assert_type(multiprocessing.cpu_count(), int)
    assert_type(multiprocessing.parent_process(), BaseProcess | None)
    try:
        multiprocessing.connection.wait([ours], 1)
    except multiprocessing.TimeoutError:
        multiprocessing.shared_memory.SharedMemory("name").unlink()


def waiting() -> None:
    ps = {orphanguard.Process(target=square), orphanguard.Process()}
    assert_type(orphanguard.wait(ps, timeout=1), list[orphanguard.Process])
    programs = [subprocess.Popen(["x"]), subprocess.Popen(["y"])]
    assert_type(orphanguard.wait(programs), list[subprocess.Popen[bytes]])
    mixed: list[orphanguard.Process | orphanguard.Popen[bytes]] = [*ps, *programs]
    assert_type(orphanguard.wait(mixed, 0), list[orphanguard.Process | orphanguard.Popen[bytes]])

    orphanguard.wait([1])  # type: ignore[type-var]
    orphanguard.wait([standard_subprocess.Popen(["x"])])  # type: ignore[type-var]


async def in_asyncio(flag: bool) -> None:
    p = await orphanguard.create_subprocess_exec("x", b"y", stdout=asyncio.subprocess.PIPE, death_signal="SIGTERM")
    assert_type(p, standard_asyncio.subprocess.Process)
    assert_type(await p.communicate(), tuple[bytes, bytes])
    q: asyncio.subprocess.Process = await asyncio.create_subprocess_shell("x", cwd="/", tree=flag)
    assert_type(await asyncio.wait_for(q.wait(), 1), int)
    t = await asyncio.subprocess.create_subprocess_exec("x", tree="cgroup", grace=1)
    assert_type(t.command_pid, int)
    assert_type(t.containment, Literal["subreaper", "cgroup", "pidns"])
    await asyncio.sleep(0)
    asyncio.run(asyncio.sleep(1))
    try:
        numbers: asyncio.Queue[int] = asyncio.Queue()
        assert_type(await numbers.get(), int)
    except asyncio.exceptions.TimeoutError:
        pass

    p.command_pid  # type: ignore[attr-defined]
    await asyncio.create_subprocess_exec("x", tree="podman")  # type: ignore[call-overload]
    await asyncio.create_subprocess_exec("x", text=True)  # type: ignore[call-overload]
    await asyncio.subprocess.create_subprocess_shell("x", grace="1s")  # type: ignore[call-overload]
    asyncio.no_such_name  # type: ignore[attr-defined]


def in_futures() -> None:
    with futures.ProcessPoolExecutor(
        2, orphanguard.get_context("spawn"), initializer=square, initargs=(1,)
    ) as executor:
        assert_type(executor.submit(square, 2), Future[int])
    orphanguard.ProcessPoolExecutor("2")  # type: ignore[call-overload]


def guards() -> None:
    guard = orphanguard.die_with_parent(15, parent_pid=1)
    assert_type(guard.layers, tuple[Literal["lifeline", "pdeathsig", "supervisor"], ...])
    standard_subprocess.Popen(["x"], preexec_fn=orphanguard.preexec_fn)
    standard_subprocess.Popen(["x"], preexec_fn=orphanguard.PreexecFn())
    orphanguard.die_with_parent(guard=False)  # type: ignore[call-arg]

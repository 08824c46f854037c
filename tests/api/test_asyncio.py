"""`create_subprocess_exec` and `create_subprocess_shell` behave as asyncio's, from a loop in any thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading

import pytest

import orphanguard
from orphanguard import asyncio as guarded
from tests.support.proc import children

PIPE = asyncio.subprocess.PIPE


def run_in_a_thread(coroutine) -> object:
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return result[0]


@pytest.fixture(params=[asyncio.run, run_in_a_thread], ids=["main", "other"])
def run(request):
    return request.param


class FdsFirst(asyncio.SelectorEventLoop):
    """Calls the readers of ready fds before the callbacks that were due already, as uvloop does."""

    def _add_callback(self, handle: asyncio.Handle) -> None:
        self._ready.appendleft(handle)


def uvloop_loop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()


with contextlib.suppress(pytest.skip.Exception):
    uvloop_loop().close()  # the first loop makes a pipe that libuv keeps

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "fds first": FdsFirst, "uvloop": uvloop_loop}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS.keys())
def run_in_loop(request):
    loop = request.param()
    yield loop.run_until_complete
    loop.close()


def test_exec_communicates(run) -> None:
    async def main():
        process = await orphanguard.create_subprocess_exec("sh", "-c", "cat; exit 3", stdin=PIPE, stdout=PIPE)
        assert isinstance(process, asyncio.subprocess.Process)
        return await process.communicate(b"hello"), process.returncode

    assert run(main()) == ((b"hello", None), 3)


def test_shell_and_signals(run) -> None:
    async def main():
        process = await orphanguard.create_subprocess_shell("exec sleep 1000")
        process.send_signal(signal.SIGTERM)
        codes = [await process.wait()]
        for end in ("terminate", "kill"):
            process = await orphanguard.create_subprocess_shell("exec sleep 1000")
            getattr(process, end)()
            codes.append(await process.wait())
        return codes

    assert run(main()) == [-15, -15, -9]


def test_many_at_once(run) -> None:
    async def one(code: int) -> int:
        process = await orphanguard.create_subprocess_exec("sh", "-c", f"exit {code}")
        return await process.wait()

    async def main():
        return await asyncio.gather(*map(one, range(30)))

    assert run(main()) == list(range(30))


@pytest.mark.parametrize("stdio", [None, PIPE], ids=["no pipes", "pipes"])
def test_the_program_ends_before_its_pipes_are_connected(run_in_loop, stdio: int | None) -> None:
    async def main():
        loop = asyncio.get_running_loop()
        task = loop.create_task(
            orphanguard.create_subprocess_exec("sh", "-c", "echo; exit 3", stdin=stdio, stdout=stdio, stderr=stdio)
        )
        # This runs right after the start, and returns when the program has ended.
        loop.call_soon(os.waitid, os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        process = await task
        return await process.communicate(), await process.wait()

    assert run_in_loop(main()) == ((b"\n" if stdio else None, b"" if stdio else None), 3)


@pytest.mark.parametrize("tree", [False, True])
def test_the_class_of_a_program_that_has_ended(run_in_loop, tree: bool) -> None:
    async def main():
        loop = asyncio.get_running_loop()
        task = loop.create_task(orphanguard.create_subprocess_exec("true", tree=tree))
        loop.call_soon(os.waitid, os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        process = await task
        assert await process.wait() == 0
        return type(process)

    assert run_in_loop(main()) is (guarded.TreeProcess if tree else asyncio.subprocess.Process)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, FdsFirst])
def test_eager_tasks(loop) -> None:
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        process = await orphanguard.create_subprocess_exec("sh", "-c", "cat; exit 3", stdin=PIPE, stdout=PIPE)
        return await process.communicate(b"hello"), process.returncode

    with contextlib.closing(loop()) as running:
        assert running.run_until_complete(main()) == ((b"hello", None), 3)


def test_cancelled_while_it_starts() -> None:
    before = children()

    async def main() -> None:
        task = asyncio.ensure_future(
            orphanguard.create_subprocess_exec("sleep", "1000", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )
        while children() == before:  # the program is started, and its pipes are not connected yet
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == before

    asyncio.run(main())


def test_somebody_else_reaps_or_polls(run) -> None:
    """Somebody polls the transport's Popen, and so reaps. The loop still hears of the end, with the true exit code."""

    async def main():
        process = await orphanguard.create_subprocess_exec("sh", "-c", "read x; exit 7", stdin=PIPE)
        popen = process._transport.get_extra_info("subprocess")
        process.stdin.write(b"\n")
        while popen.poll() is None:
            os.sched_yield()
        return await process.wait()

    assert run(main()) == 7


def test_guard_and_death_signal() -> None:
    async def main() -> None:
        process = await orphanguard.create_subprocess_exec("sleep", "1000", death_signal=signal.SIGTERM)
        popen = process._transport.get_extra_info("subprocess")
        assert popen.guard.signal == signal.SIGTERM
        process.kill()
        await process.wait()
        process = await orphanguard.create_subprocess_exec("true", guard=False)
        assert process._transport.get_extra_info("subprocess").guard is None
        await process.wait()

    asyncio.run(main())


@pytest.mark.parametrize("keywords", [{"text": True}, {"bufsize": 1}, {"encoding": "utf-8"}, {"shell": True}])
def test_refused_as_asyncio_refuses(keywords: dict[str, object]) -> None:
    def told(create) -> str:
        async def main() -> None:
            await create("true", **keywords)

        with pytest.raises(ValueError) as caught:
            asyncio.run(main())
        return str(caught.value)

    assert told(orphanguard.create_subprocess_exec) == told(asyncio.create_subprocess_exec)


def test_program_that_is_missing(run) -> None:
    async def main():
        with pytest.raises(FileNotFoundError) as caught:
            await orphanguard.create_subprocess_exec("/no/such/program")
        return caught.value.filename

    assert run(main()) == "/no/such/program"


def test_a_loop_that_cannot_watch_keeps_no_child() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader = refuse
        with pytest.raises(NotImplementedError):
            await orphanguard.create_subprocess_exec("sleep", "1000")
        del loop.add_reader

    def refuse(*_: object) -> None:
        raise NotImplementedError

    asyncio.run(main())


@pytest.mark.parametrize("stdio", [None, PIPE], ids=["no pipes", "pipes"])
def test_a_task_factory_that_raises_keeps_no_child(stdio: int | None) -> None:
    def refuse(loop: object, coro, **_: object) -> None:
        coro.close()
        raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(refuse)
        try:
            with pytest.raises(ZeroDivisionError):
                await orphanguard.create_subprocess_exec("sleep", "1000", stdin=stdio, stdout=stdio, stderr=stdio)
        finally:
            loop.set_task_factory(None)

    asyncio.run(main())


def test_mirror_of_asyncio() -> None:
    assert guarded.subprocess.create_subprocess_exec is orphanguard.create_subprocess_exec
    assert guarded.subprocess.PIPE is PIPE
    assert guarded.run is asyncio.run
    assert guarded.tasks is asyncio.tasks
    assert {*asyncio.__all__} <= {*dir(guarded)}
    with pytest.raises(AttributeError, match="no_such_name"):
        guarded.no_such_name  # noqa: B018

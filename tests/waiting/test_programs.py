"""`orphanguard.wait` for programs: `Popen` objects, alone and among processes."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import multiprocessing
import os
import signal
import subprocess
import threading
import weakref

import pytest

import orphanguard
from orphanguard._core import waiting
from tests.support.proc import DEATH

WAYS = {
    "spawned": {},
    "unguarded": {"guard": False},
    "forked": {"preexec_fn": os.getpid},
    "tree": {"tree": True},
}


@pytest.fixture
def start():
    started = []

    def start(count: int = 1, command: tuple[str, ...] = ("sleep", "1000"), **options):
        started.extend(orphanguard.Popen(command, **options) for _ in range(count))
        return started[-count:]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def worker():
    process = orphanguard.get_context("fork").Process(target=signal.pause)
    process.start()
    yield process
    process.kill()
    process.join()
    process.close()


def ended(pid: int) -> None:
    """Returns when the program is dead. Reaps nothing."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("way", WAYS)
def test_it_has_been_reaped(start, way: str) -> None:
    first, second = start(2, **WAYS[way])
    assert orphanguard.wait([first, second], timeout=0) == []
    second.kill()
    assert orphanguard.wait([first, second], timeout=DEATH) == [second]
    assert vars(second)["returncode"] == -signal.SIGKILL
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, second.pid, os.WEXITED | os.WNOHANG)
    assert second.poll() == second.wait() == second.wait(timeout=0) == -signal.SIGKILL
    assert first.poll() is None


@pytest.mark.parametrize("kind", [list, set, tuple, frozenset, iter, dict.fromkeys])
def test_mixed_with_processes(start, worker, kind) -> None:
    [program] = start()
    assert orphanguard.wait(kind([worker, program]), timeout=0.01) == []
    program.terminate()
    assert orphanguard.wait(kind([worker, program])) == [program]
    worker.kill()
    while len(done := orphanguard.wait(kind([worker, program]))) < 2:
        assert done == [program]
    assert set(done) == {worker, program}


@pytest.mark.parametrize("seen", ["wait", "poll", "communicate"])
def test_the_end_was_seen_before(start, worker, seen: str) -> None:
    """wait() returns all that have finished, also those whose end the caller knows already."""
    first, second = start(2, ("true",), stdout=subprocess.PIPE)
    for process in (first, second):
        ended(process.pid)
        getattr(process, seen)()
        process.stdout.close()
    assert set(orphanguard.wait([first, worker, second])) == {first, second}
    worker.kill()
    worker.join()
    [third] = start(1, ("true",))
    third.wait()
    assert set(orphanguard.wait([worker, third, first])) == {first, third, worker}


def test_it_is_dead_when_it_is_first_waited_for(start) -> None:
    [process] = start(1, ("sh", "-c", "exit 7"))
    ended(process.pid)
    assert orphanguard.wait([process]) == [process]
    assert vars(process)["returncode"] == 7


def test_output_is_still_to_be_had(start) -> None:
    [process] = start(1, ("echo", "hello"), stdout=subprocess.PIPE, text=True)
    assert orphanguard.wait([process], DEATH) == [process]
    assert process.communicate() == ("hello\n", None)
    assert process.returncode == 0


def test_those_who_never_wait_pay_nothing(start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.Registry, "_watch", None)
    monkeypatch.setattr(waiting.Registry, "ended", None)
    [process] = start()
    assert not process._child.watched
    process.kill()
    process.wait()


@pytest.mark.parametrize("by", ["wait", "poll", "nobody else"])
def test_each_thread_hears_of_its_own(start, by: str) -> None:
    """Some threads call poll() or wait() of a program, others orphanguard.wait(). One reaps, all hear."""
    processes = start(12)
    results: dict[int, object] = {}

    def wait(index: int) -> None:
        results[index] = orphanguard.wait([processes[index]], timeout=DEATH)

    threads = [threading.Thread(target=wait, args=(index,)) for index in range(12)]
    threads += [threading.Thread(target=processes[index].wait) for index in range(0, 12, 2)]
    for thread in threads:
        thread.start()
    for process in reversed(processes):
        os.kill(process.pid, signal.SIGKILL)
        if by == "wait":
            process.wait()
        elif by == "poll":
            while process.poll() is None:
                pass
    for thread in threads:
        thread.join()
    assert results == {index: [process] for index, process in enumerate(processes)}
    assert {vars(process)["returncode"] for process in processes} == {-signal.SIGKILL}


def test_threads_begin_to_wait_for_one_that_others_reap(start) -> None:
    """The reap closes the pidfd. Its number must not get into the epoll when it is another file's."""
    for _ in range(60):
        [process] = start(1, ("true",))
        barrier = threading.Barrier(4)
        results: list[object] = []

        def wait(process=process, barrier=barrier, results=results) -> None:
            barrier.wait()
            results.append(orphanguard.wait([process], DEATH))

        def reap(process=process, barrier=barrier) -> None:
            barrier.wait()
            process.wait()
            os.close(os.dup(0))  # takes the number, which is free

        threads = [threading.Thread(target=what) for what in (wait, wait, reap)]
        for thread in threads:
            thread.start()
        barrier.wait()
        for thread in threads:
            thread.join()
        assert results == [[process]] * 2
        assert not process._child.watched
        assert process._child.pidfd < 0
    assert not waiting.registry()._live


def test_dropped_while_it_is_watched(start, worker) -> None:
    """A dropped program is as in the standard library: its pipes close, and it is reaped when it ends."""
    process = orphanguard.Popen(["cat"], stdin=subprocess.PIPE)
    pid = process.pid
    assert orphanguard.wait([process], timeout=0) == []
    gone = weakref.ref(process.stdin)
    with pytest.warns(ResourceWarning, match="still running"):
        del process
        gc.collect()
    assert gone() is not None  # the standard library keeps the Popen, to poll it until its end
    [dropped] = [process for process in subprocess._active if process.pid == pid]
    dropped.stdin.close()
    del dropped
    ended(pid)
    assert orphanguard.wait([worker], timeout=0) == []
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    subprocess._cleanup()
    assert pid not in {process.pid for process in subprocess._active}


def test_dropped_in_a_cycle(worker) -> None:
    process = orphanguard.Popen(["sleep", "1000"])
    pid, process.itself = process.pid, process
    assert orphanguard.wait([process, worker], timeout=0) == []
    with pytest.warns(ResourceWarning, match="still running"):
        del process
        gc.collect()
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert orphanguard.wait([worker], timeout=0) == []
    subprocess._cleanup()
    assert pid not in {process.pid for process in subprocess._active}


def test_dropped_after_its_end(start) -> None:
    process = orphanguard.Popen(["true"])
    assert orphanguard.wait([process], timeout=DEATH) == [process]
    gone = weakref.ref(process)
    del process
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("first", [True, False], ids=["watched before", "first waited for in the handler"])
def test_in_a_signal_handler_of_one_who_sleeps(start, first: bool) -> None:
    """The handler waits for one program, the interrupted thread for the other."""
    mine, handlers = start(2)
    if first:
        assert orphanguard.wait([mine, handlers], timeout=0) == []
    heard: list[object] = []

    def handler(*_: object) -> None:
        handlers.kill()
        heard.append(orphanguard.wait([handlers], DEATH))
        mine.kill()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert orphanguard.wait([mine], DEATH) == [mine]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [[handlers]]


class Handler:
    """An epoll. A signal handler runs at its next call, and waits for the child that is just being added."""

    def __init__(self, epoll, process, before: bool) -> None:
        self._epoll, self._process, self._before = epoll, process, before

    def register(self, *args: object) -> None:
        process, self._process = self._process, None
        if process is not None and self._before:
            assert orphanguard.wait([process], DEATH) == [process]
        self._epoll.register(*args)
        if process is not None and not self._before:
            assert orphanguard.wait([process], DEATH) == [process]

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)


@pytest.mark.parametrize("takes", [None, "/dev/null", "process"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_signal_handler_waits_for_the_one_that_is_being_added(
    start, monkeypatch: pytest.MonkeyPatch, before: bool, takes: str | None
) -> None:
    """The child has been reaped when the interrupted thread goes on, and the number of its pidfd may be another
    file's."""
    registry = waiting.registry()
    [process] = start(1, ("true",))
    taken: list[object] = []
    tell = waiting.Registry._tell

    def take(self, handle) -> None:
        tell(self, handle)
        if handle is process and takes == "process":
            taken.extend(start())
            assert orphanguard.wait(taken, 0) == []
        elif handle is process and takes:
            with open(takes) as file:
                taken.append(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, number))  # if that number is free

    ended(process.pid)
    number = process._child.pidfd
    with monkeypatch.context() as patched:
        patched.setattr(registry, "_epoll", Handler(registry._own_epoll(), process, before))
        patched.setattr(waiting.Registry, "_tell", take)
        assert orphanguard.wait([process], DEATH) == [process]
    [process] = start()
    if takes == "process":
        [other] = taken
        assert other._child.pidfd == number
        assert orphanguard.wait([other, process], 0) == []
        other.kill()
        assert orphanguard.wait([other, process], DEATH) == [other]
    elif takes:
        assert taken == [number]
        os.close(number)
    assert {child for child, _ in registry._live.values()} <= {process._child}


def test_in_an_event_loop() -> None:
    """asyncio's transport waits for the same program, in its own way."""

    async def main() -> None:
        process = await orphanguard.create_subprocess_exec("sleep", "1000")
        popen = process._transport.get_extra_info("subprocess")
        with pytest.raises(TypeError, match=r"await process\.wait\(\)"):
            orphanguard.wait([process])
        assert orphanguard.wait([popen], timeout=0) == []
        process.kill()
        assert orphanguard.wait([popen], DEATH) == [popen]
        assert await process.wait() == popen.returncode == -signal.SIGKILL

        process = await orphanguard.create_subprocess_exec("true")
        popen = process._transport.get_extra_info("subprocess")
        assert await process.wait() == 0
        assert orphanguard.wait([popen]) == [popen]

        process = await orphanguard.create_subprocess_exec("true", tree=True)
        with pytest.raises(TypeError, match=r"await process\.wait\(\)"):
            orphanguard.wait([process])
        await process.wait()

    asyncio.run(main())


def test_what_cannot_be_waited_for(start) -> None:
    [process] = start()
    with subprocess.Popen(["true"]) as plain:
        for other in (plain, multiprocessing.Process(), 5, None, []):
            for among in ([other], [process, other]):
                with pytest.raises(TypeError, match="not an orphanguard process"):
                    orphanguard.wait(among, timeout=0)
    with pytest.raises(TypeError):
        orphanguard.wait(process)
    unstarted = orphanguard.Popen.__new__(orphanguard.Popen)
    unstarted._child_created = False
    with pytest.raises(ValueError, match="not started"):
        orphanguard.wait([unstarted])


def test_a_forked_process_waits_for_its_own(start) -> None:
    [process] = start()
    assert orphanguard.wait([process], timeout=0) == []
    if (pid := os.fork()) == 0:
        try:
            with pytest.raises(ValueError, match="can only wait for a child process"):
                orphanguard.wait([process])
            mine = orphanguard.Popen(["true"])
            os._exit(5 if orphanguard.wait([mine], DEATH) == [mine] else 1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert orphanguard.wait([process], timeout=0) == []


def test_an_epoll_that_takes_no_more(start, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC, for example: the program is not watched, and is as it was."""
    [process] = start()

    def full(*_: object) -> None:
        raise OSError(28, "epoll_ctl")

    with monkeypatch.context() as patched:
        epoll = Handler(waiting.registry()._own_epoll(), None, False)
        patched.setattr(epoll, "register", full, raising=False)
        patched.setattr(waiting.registry(), "_epoll", epoll)
        for _ in range(2):
            with pytest.raises(OSError, match="epoll_ctl"):
                orphanguard.wait([process], timeout=0)
    assert not process._child.watched
    process.kill()
    assert orphanguard.wait([process]) == [process]
    assert process._child.pidfd < 0


def test_the_program_has_closed_the_pidfd(start) -> None:
    [process] = start()
    number = process._child.pidfd
    copy = os.dup(number)
    os.close(number)
    with pytest.raises(OSError, match="closed"):
        orphanguard.wait([process], timeout=0)
    os.dup2(copy, number, inheritable=False)
    os.close(copy)
    assert orphanguard.wait([process], timeout=0) == []

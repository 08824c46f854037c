"""`orphanguard.Process` is as `multiprocessing.Process`: same attributes, same exceptions, safe from several
threads."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from multiprocessing import connection

import pytest

import orphanguard
from tests.support.actor import held_by_another_thread, in_a_fork
from tests.support.proc import DEATH
from tests.support.witness import METHODS

pytestmark = pytest.mark.starts_fork_server


def nothing() -> None:
    pass


def exit_with(status: int) -> None:
    os._exit(status)


def pause() -> None:
    signal.pause()


def tell_guard(queue) -> None:
    queue.put(multiprocessing.current_process().guard)


def tell_about_the_parent(queue, hold) -> None:
    parent = multiprocessing.parent_process()
    queue.put((parent.pid, parent.is_alive()))
    hold.get()


@pytest.fixture(params=METHODS)
def context(request):
    return orphanguard.get_context(request.param)


@pytest.fixture
def running(context):
    process = context.Process(target=pause, name="a name")
    process.start()
    yield process
    process.kill()
    process.join()
    process.close()


def test_attributes(context, running) -> None:
    assert running.name == "a name"
    assert running.pid == running.ident > 0
    assert running.is_alive()
    assert running.exitcode is None
    assert running in multiprocessing.active_children()
    assert isinstance(running, multiprocessing.process.BaseProcess)
    assert repr(running) == (
        f"<{type(running).__name__} name='a name' pid={running.pid} parent={os.getpid()} started guarded>"
    )
    running.terminate()
    running.join()
    assert not running.is_alive()
    assert running.exitcode == -signal.SIGTERM
    assert running not in multiprocessing.active_children()
    assert "guarded" not in repr(running)


def test_sentinel_is_a_pidfd(running) -> None:
    with open(f"/proc/self/fdinfo/{running.sentinel}") as info:
        assert f"Pid:\t{running.pid}\n" in info.read()
    assert connection.wait([running.sentinel], timeout=0) == []
    running.kill()
    assert connection.wait([running.sentinel], timeout=DEATH) == [running.sentinel]
    running.join()
    assert connection.wait([running.sentinel], timeout=0) == [running.sentinel]


def test_a_grandchild_cannot_delay_the_sentinel() -> None:
    """In the standard library it can, since it inherits the pipe."""
    process = orphanguard.get_context("fork").Process(target=orphan_a_grandchild, args=((pipe := os.pipe())[1],))
    process.start()
    grandchild = int(os.read(pipe[0], 10))
    assert connection.wait([process.sentinel], timeout=DEATH)
    os.kill(grandchild, 0)
    os.kill(grandchild, signal.SIGKILL)
    process.join()
    os.close(pipe[0])
    os.close(pipe[1])


def orphan_a_grandchild(pipe: int) -> None:
    if (pid := os.fork()) == 0:
        pause()
    os.write(pipe, b"%d" % pid)
    os._exit(0)


def test_guard(context, running) -> None:
    pdeathsig = () if context.get_start_method() == "forkserver" else ("pdeathsig",)
    assert running.guard.layers == ("lifeline", *pdeathsig)
    assert running.guard.scope == "process"
    assert context.Process(target=nothing).guard is None
    queue = context.SimpleQueue()
    process = context.Process(target=tell_guard, args=(queue,))
    process.start()
    assert queue.get() == process.guard
    process.join()
    queue.close()


def test_guard_from_another_thread(context) -> None:
    queue = context.SimpleQueue()
    process = context.Process(target=tell_guard, args=(queue,))
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    assert process.guard.layers == ("lifeline",)
    assert queue.get() == process.guard
    process.join()
    queue.close()


def test_the_parent_as_the_child_sees_it(context) -> None:
    queue, hold = context.SimpleQueue(), context.SimpleQueue()
    process = context.Process(target=tell_about_the_parent, args=(queue, hold))
    process.start()
    assert queue.get() == (os.getpid(), True)
    hold.put(None)
    process.join()
    queue.close()
    hold.close()


def test_what_is_rejected(context) -> None:
    with pytest.raises(AssertionError, match="group"):
        context.Process(group=1, target=nothing)
    process = context.Process(target=nothing)
    with pytest.raises(AssertionError, match="started"):
        process.join()
    with pytest.raises(ValueError, match="not started"):
        _ = process.sentinel
    assert process.exitcode is None
    assert not process.is_alive()
    process.start()
    with pytest.raises(AssertionError, match="twice"):
        process.start()
    process.join()
    process.close()
    process.close()
    for use in (process.start, process.join, process.is_alive, process.kill, process.terminate):
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises(ValueError, match="closed"):
        _ = process.guard


def test_close_while_it_runs(running) -> None:
    with pytest.raises(ValueError, match="still running"):
        running.close()
    assert running.is_alive()


def test_unknown_start_method() -> None:
    for method in ("thread", "", 7, []):
        with pytest.raises(ValueError, match="cannot find context"):
            orphanguard.get_context(method)


def test_unstarted_processes_raise_as_in_the_standard_library() -> None:
    for use in ("terminate", "kill"):
        raised = []
        for process in (multiprocessing.Process(target=nothing), orphanguard.Process(target=nothing)):
            with pytest.raises(Exception) as caught:
                getattr(process, use)()
            raised.append(type(caught.value))
        assert raised[0] is raised[1]


def in_a_forked_child(function) -> str:
    """The name of the exception that ``function`` raises in a fork, or its result."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = repr(function())
        except BaseException as error:
            result = type(error).__name__
        os.write(w, result.encode())
        os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    with open(r) as answer:
        return answer.read()


@pytest.mark.parametrize("use", ["join", "is_alive", "start", "kill", "terminate"])
def test_use_from_a_child_that_inherited_it(running, use: str) -> None:
    assert in_a_forked_child(getattr(running, use)) == "AssertionError"
    assert running.is_alive()


def test_looking_from_a_child_that_inherited_it(running) -> None:
    assert in_a_forked_child(lambda: running.exitcode) == "None"
    assert "unknown" in in_a_forked_child(lambda: running)
    assert in_a_forked_child(lambda: orphanguard.wait([running], 0)) == "ValueError"


def test_start_in_a_daemonic_process(context) -> None:
    process = context.Process(target=start_one, daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 3


def start_one() -> None:
    try:
        orphanguard.Process(target=nothing).start()
    except AssertionError as error:
        os._exit(3 if "daemonic" in str(error) else 4)


def test_pickling(context) -> None:
    process = context.Process(target=nothing)
    with pytest.raises(TypeError, match="security"):
        pickle.dumps(process)  # as in the standard library: the authkey stays here


@pytest.mark.parametrize("end", [0, 7, -signal.SIGKILL, -signal.SIGUSR1])
def test_exit_codes(context, end: int) -> None:
    process = context.Process(target=exit_with if end >= 0 else kill_self, args=(abs(end),))
    process.start()
    process.join()
    assert process.exitcode == end


def kill_self(sig: int) -> None:
    os.kill(os.getpid(), sig)


def test_join_with_a_timeout(running) -> None:
    started = time.monotonic()
    assert running.join(0.05) is None
    assert 0.05 <= time.monotonic() - started < DEATH
    running.join(0)
    running.join(-1)
    assert running.exitcode is None


def test_a_forked_child_closes_an_inherited_process() -> None:
    """At the fork another thread may hold the lock. The child has the lock, and not the thread."""
    process = orphanguard.get_context("fork").Process(target=int)
    process.start()
    process.join()
    with held_by_another_thread(process._popen.child._lock):
        assert in_a_fork(process.close) == 5
    process.close()


def test_many_threads_join_look_and_kill_at_once(context) -> None:
    """python/cpython#130895 and others: reaping from two threads goes wrong in the standard library."""
    for _ in range(5):
        process = context.Process(target=pause)
        process.start()
        seen: list[object] = []
        go = threading.Barrier(12)

        def use(process=process, seen=seen, go=go) -> None:
            go.wait()
            process.kill()
            process.is_alive()
            process.join()
            seen.append((process.exitcode, process.is_alive()))

        threads = [threading.Thread(target=use) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [(-signal.SIGKILL, False)] * 12
        process.close()


def test_close_while_other_threads_join(context) -> None:
    process = context.Process(target=pause)
    process.start()
    errors: list[BaseException] = []

    def join() -> None:
        try:
            process.join()
        except ValueError:
            pass  # another thread was faster
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=join) for _ in range(8)]
    for thread in threads:
        thread.start()
    process.kill()
    process.join()
    process.close()
    for thread in threads:
        thread.join()
    assert errors == []


def test_default_start_method() -> None:
    assert orphanguard.get_context() is orphanguard.get_context(multiprocessing.get_start_method())
    assert issubclass(orphanguard.Process, multiprocessing.Process)
    process = orphanguard.Process(target=nothing)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_subclass() -> None:
    process = Mine(5)
    process.start()
    process.join()
    assert process.exitcode == 5


class Mine(orphanguard.Process):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def run(self) -> None:
        raise SystemExit(self.status)


def test_the_mirror_module() -> None:
    from orphanguard import multiprocessing as mirror

    assert mirror.Process is orphanguard.Process
    assert mirror.Queue is multiprocessing.Queue
    assert mirror.cpu_count() == multiprocessing.cpu_count()
    assert {"Process", "Pool", "Queue"} <= set(dir(mirror))
    with mirror.Pool(1) as pool:
        assert pool.apply(abs, (-3,)) == 3
        assert pool._pool[0].guard is not None

"""`Popen` behaves as the standard library's where CPython's own tests (make conformance) do not look."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import re
import signal
import subprocess as stock
import sys
import threading
import warnings
from unittest import mock

import pytest

from orphanguard import subprocess
from tests.support.proc import DEATH, wait_for
from tests.support.witness import python

BOTH = pytest.mark.parametrize("module", (stock, subprocess), ids=("stock", "ours"))


@BOTH
def test_who_replaces_popen_in_the_module_is_heard(module) -> None:
    with mock.patch.object(module, "Popen", side_effect=ZeroDivisionError):
        for helper in (module.run, module.call, module.check_call, module.check_output, module.getoutput):
            with pytest.raises(ZeroDivisionError):
                helper("true")
    with mock.patch.object(module, "check_output", return_value="heard"):
        assert module.getoutput("true") == "heard"


@BOTH
@pytest.mark.parametrize("name", ("Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"))
def test_can_be_pickled(module, name) -> None:
    """ProcessPoolExecutor().submit(subprocess.run, ...)"""
    assert pickle.loads(pickle.dumps(getattr(module, name))) is getattr(module, name)


@BOTH
@pytest.mark.parametrize("guard", (True, False))
@pytest.mark.parametrize("cycle", (False, True), ids=("", "cycle"))
def test_dropped_while_it_runs(module, guard, cycle) -> None:
    options = {"guard": guard} if module is subprocess else {}
    process = module.Popen(["cat"], stdin=stock.PIPE, **options)
    pid, stdin = process.pid, process.stdin
    if cycle:
        process.itself = process
    with pytest.warns(ResourceWarning, match=f"^subprocess {pid} is still running$"):
        del process
        gc.collect()
    assert [kept.pid for kept in stock._active] == [pid]
    stdin.close()

    def reaped_by_the_next_start() -> bool:
        module.Popen(["true"]).wait()
        return not stock._active

    wait_for(reaped_by_the_next_start)


@pytest.mark.parametrize("options", ["", ", tree=True"])
def test_what_a_finaliser_brings_back_has_its_memory(options: str) -> None:
    """The collection of a cycle finalises all that is in it, also what the Popen needs when it is reaped later. The
    debug allocator overwrites the memory that is freed."""
    program = f"""
import gc, os, subprocess, warnings, orphanguard
warnings.simplefilter("ignore")
process = orphanguard.Popen(["cat"], stdin=subprocess.PIPE{options})
pid, stdin = process.pid, process.stdin
process.itself = process
del process
gc.collect()
[kept] = subprocess._active
assert kept._child.pid == pid, kept._child.pid
stdin.close()
while subprocess._active:
    orphanguard.Popen(["true"]).wait()
try:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
except ChildProcessError:
    print("reaped")
"""
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    command = [sys.executable, "-c", program]
    done = stock.run(command, capture_output=True, text=True, env=environment, timeout=DEATH, check=False)
    assert done.stdout == "reaped\n", done.stderr


def test_one_that_can_not_be_asked_is_no_obstacle_to_others() -> None:
    """A start polls the programs that were dropped while they ran. The pidfd of one may be closed by then."""
    process = subprocess.Popen(["cat"], stdin=stock.PIPE)
    child, stdin = process._child, process.stdin
    with pytest.warns(ResourceWarning):
        del process
    pidfd = os.dup(child.pidfd)
    os.close(child.pidfd)
    assert subprocess.call(["true"]) == 0
    assert not stock._active
    os.dup2(pidfd, child.pidfd, inheritable=False)
    os.close(pidfd)
    stdin.close()
    assert child.wait() == 0
    child.close()


@BOTH
def test_not_pickled_with_its_locks(module) -> None:
    with module.Popen(["true"]) as process, pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(process)


@BOTH
def test_a_forked_child_drops_its_copy(module) -> None:
    """The fork cannot wait for that program. So it must not keep the handle, to poll it at each start."""
    process = module.Popen(["cat"], stdin=stock.PIPE)
    pid = os.fork()
    if pid == 0:
        warnings.simplefilter("ignore")
        del process
        gc.collect()
        os._exit(len(stock._active))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    process.communicate()
    assert process.returncode == 0


@BOTH
def test_an_endless_timeout(module) -> None:
    assert module.Popen(["true"]).wait(float("inf")) == 0


@BOTH
@pytest.mark.parametrize("timeout", (0, 0.01))
def test_the_timeout_that_is_told(module, timeout) -> None:
    with module.Popen(["cat"], stdin=stock.PIPE) as process:
        with pytest.raises(stock.TimeoutExpired) as caught:
            process.wait(timeout)
        assert repr(caught.value.timeout) == repr(timeout)


@BOTH
def test_many_threads_wait_for_one(module) -> None:
    results: list[int] = []
    process = module.Popen(["sh", "-c", "read _; exit 7"], stdin=stock.PIPE)
    threads = [
        threading.Thread(target=lambda timeout=timeout: results.append(process.wait(timeout)))
        for timeout in (None, 50) * 4
    ]
    for thread in threads:
        thread.start()
    process.communicate(b"\n")
    for thread in threads:
        thread.join()
    assert results == [7] * 8


REFUSED = {
    "an fd too large": {"pass_fds": [2**40]},
    "an environment without items()": {"env": [("A", "B")]},
    "a group that is no number of one": {"extra_groups": [2**64]},
    "the group -1": {"extra_groups": [2**32 - 1]},
    "too many groups": {"extra_groups": list(range(65537))},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_refused_alike(options, needs_root_for) -> None:
    needs_root_for("extra_groups" in options, "setgroups(2) needs root")
    errors = []
    for module in (stock, subprocess):
        with pytest.raises(Exception) as caught:
            module.Popen(["true"], **options)
        errors.append((type(caught.value), getattr(caught.value, "errno", None)))
    assert errors[0] == errors[1]


def test_whatever_is_true_is_a_yes() -> None:
    assert subprocess.call(["true"], close_fds="yes", start_new_session="yes", restore_signals="yes") == 0


@BOTH
@pytest.mark.parametrize("close_fds", (True, False))
def test_a_program_that_another_user_does_not_find(module, close_fds, needs_root_for) -> None:
    """The launcher finds out after the change of ids, and its answer must get back to the parent."""
    needs_root_for(True, "setreuid(2) needs root")
    with pytest.raises(FileNotFoundError) as caught:
        module.Popen(["/nowhere"], user=65534, close_fds=close_fds)
    assert caught.value.filename == "/nowhere"


FAILING = {
    "no program": ({"args": ["/nowhere"]}, FileNotFoundError, "/nowhere"),
    "no directory": ({"args": ["true"], "cwd": "/nowhere"}, FileNotFoundError, "/nowhere"),
}


@pytest.mark.parametrize(("options", "error", "filename"), FAILING.values(), ids=FAILING)
def test_a_handler_that_fails_at_something_else(options, error, filename) -> None:
    """The SIGCHLD of the failed child runs the handler before Popen has asked what failed."""
    others = []

    def fail(*_: object) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            subprocess.Popen(["true"], cwd="/elsewhere")
        except OSError as other:
            others.append(other.filename)

    before = signal.signal(signal.SIGCHLD, fail)
    try:
        with pytest.raises(OSError) as caught:
            subprocess.Popen(**options)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert others == ["/elsewhere"]
    assert type(caught.value) is error
    assert caught.value.filename == filename


STARTING_HANDLER = """
import faulthandler, os, signal
from orphanguard import subprocess

faulthandler.dump_traceback_later(50, exit=True)
subprocess.call(["true"])
fds = len(os.listdir("/proc/self/fd"))
started = []

def start(*_):
    if len(started) < 40:
        started.append(subprocess.Popen(["sh", "-c", "exit 3"]))
        signal.setitimer(signal.ITIMER_REAL, 0.0007)  # only now, so that handlers do not pile up

signal.signal(signal.SIGALRM, start)
signal.setitimer(signal.ITIMER_REAL, 0.0007)
while len(started) < 40:
    assert subprocess.call(["sh", "-c", "exit 5"]) == 5
    try:
        subprocess.Popen(["/nowhere"])
    except FileNotFoundError as error:
        assert error.filename == "/nowhere"
    else:
        raise AssertionError
signal.setitimer(signal.ITIMER_REAL, 0)  # its default action comes back before the interpreter ends
assert [process.wait() for process in started] == [3] * 40
assert len(os.listdir("/proc/self/fd")) == fds
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    raise AssertionError("a child is left")
"""


def test_a_handler_starts_another_in_the_middle_of_a_start() -> None:
    python(STARTING_HANDLER, check=True)


HOLDERS = {
    "global": "",
    "builtins": "import builtins; builtins.kept = process; del process",
    "sys": "sys.kept = process; del process",
    "cycle": "process.itself = process; del process",
    "dropped": "del process",
    "thread": "import threading; threading.Thread(target=process.wait, daemon=True).start()",
    "asked by a finalizer": """
class Holder:
    def __init__(self, process): self.process = process
    def __del__(self): self.process.poll(), self.process.kill(), self.process.wait()
sys.kept = Holder(process)
del process
""",
}


@pytest.mark.parametrize("command", ("['cat']", "['true']"), ids=("running", "ended"))
@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_the_interpreter_ends(holder, command) -> None:
    said = []
    for package in ("", "from orphanguard "):
        program = f"""
import os, sys
{package}import subprocess
process = subprocess.Popen({command}, stdin=subprocess.PIPE if {command} == ["cat"] else None)
if {command} == ["true"]:
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
{holder}
"""
        result = stock.run([sys.executable, "-W", "default", "-c", program], capture_output=True, text=True, check=True)
        text = re.sub(r"subprocess \d+", "subprocess N", result.stderr)
        said.append(re.sub("unclosed file <.*>", "unclosed file", text))  # in a cycle either of two comes first
    assert said[0] == said[1]


async def _twenty(**options) -> None:
    for number in range(20):
        process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}", **options)
        assert await process.wait() == number


@pytest.mark.parametrize("guard", (True, False))
def test_a_plain_event_loop_with_our_popen_leaks_nothing(monkeypatch, guard) -> None:
    """The loop reaps by itself, and then sets our returncode."""
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *args, **kwargs) -> None:
            started.append(None)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(stock, "Popen", Counted)
    asyncio.run(_twenty(guard=guard))
    assert len(started) == 20  # and conftest.py sees that no fd is left

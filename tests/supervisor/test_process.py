"""`Process(tree=)`: all that a worker starts ends with it, in all three start methods."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import orphanguard
from orphanguard import GuardUnavailable
from orphanguard._core import supervisor
from orphanguard.multiprocessing import _spawn, _under_supervisor
from tests.support.proc import DEATH, LIFE, children_of, wait_for
from tests.support.trees import left
from tests.support.witness import ACTOR, METHODS, Token, Watched

PARENT = (
    ACTOR
    + """
import multiprocessing, subprocess, orphanguard
method, thread, keywords, memory = sys.argv[1:]
ballast = burden(int(memory))
def work():
    subprocess.Popen(["setsid", "sh", "-c", "sleep 1000 & sleep 1000; :"])
    time.sleep(1000)
def nothing():
    pass
def start():
    process = orphanguard.get_context(method).Process(target=work, **eval(keywords))
    process.start()
    print(process.pid, getattr(process, "command_pid", None), flush=True)
if __name__ == "__main__":
    if thread == "stock":
        multiprocessing.get_context(method).Process(target=nothing).start()
    run_in("main" if thread == "stock" else thread, start)
    if thread == "for ever":
        while True:
            start()
    obey(globals())
"""
)


@pytest.fixture
def family(tmp_path: Path):
    """Starts a parent whose worker starts three processes. All have the same token."""
    token = Token()
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    started: list[subprocess.Popen[str]] = []

    def start(method: str, thread: str = "main", keywords: str = "{'tree': True}", memory: int = 0, size: int = 4):
        parent = subprocess.Popen(
            [sys.executable, script, method, thread, keywords, str(memory)],
            env=token.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(parent)
        supervisor, worker = parent.stdout.readline().split()
        wait_for(lambda: len(token.holders()) > size)
        return parent, int(supervisor), worker if worker == "None" else int(worker)

    start.token = token
    yield start
    for parent in started:
        parent.kill()
    while token.holders():
        token.clean_up()
    for parent in started:
        parent.communicate()


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("keywords", ["{'tree': True}", "{'grace': 0.1}"])
@pytest.mark.parametrize("method", METHODS)
def test_the_parent_is_killed(family, method: str, keywords: str, thread: str) -> None:
    parent, supervisor, worker = family(method, thread, keywords)
    watched = Watched([supervisor, worker])
    assert watched.alive(within=LIFE) == [supervisor, worker]
    watched.close(kill=False)
    parent.kill()
    assert left(family.token, parent.pid) == []


ALIVE = {
    "exec": "os.execvp('sleep', ['sleep', '1000'])",
    "close": "os.closerange(3, 2000)",
    "server": "from multiprocessing import forkserver; os.kill(forkserver._forkserver._forkserver_pid, 9)",
}


@pytest.mark.parametrize(
    ("method", "what"),
    [(method, what) for method in METHODS for what in ALIVE if what != "server" or method == "forkserver"],
)
def test_the_parent_is_alive(family, method: str, what: str) -> None:
    """The tree lives whatever the parent does to itself, and whatever becomes of its fork server."""
    parent, supervisor, worker = family(method)
    helpers = [pid for pid in children_of(parent.pid) if pid != supervisor]
    wait_for(lambda: len(left(family.token, parent.pid, supervisor, worker, *helpers, within=0)) == 3)
    parent.stdin.write(f"{ALIVE[what]}\n")
    parent.stdin.flush()
    wait_for(lambda: what != "exec" or os.readlink(f"/proc/{parent.pid}/exe").endswith("/sleep"))
    watched = Watched([supervisor, worker])
    assert watched.alive(within=2 * LIFE) == [supervisor, worker]
    watched.close(kill=False)
    parent.kill()
    assert left(family.token, parent.pid) == []


def test_the_fork_server_is_stock(family) -> None:
    """Plain multiprocessing has started the server, which may outlive the parent."""
    parent, _, _ = family("forkserver", "stock")
    [server] = [pid for pid in children_of(parent.pid) if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()]
    watched = Watched([server])
    parent.kill()
    assert left(family.token, parent.pid, server) == []
    watched.close()


@pytest.mark.parametrize("method", METHODS)
def test_without_tree_they_survive(family, method: str) -> None:
    parent, child, _ = family(method, keywords="{}")
    parent.kill()
    wait_for(lambda: child not in left(family.token, within=0))
    assert len(left(family.token, parent.pid, within=LIFE)) >= 3


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
@pytest.mark.parametrize("method", METHODS)
def test_one_of_the_two_is_killed(family, method: str, victim: str) -> None:
    parent, supervisor, worker = family(method)
    helpers = [pid for pid in children_of(parent.pid) if pid != supervisor]  # the resource tracker, the fork server
    those = (parent.pid, supervisor, worker, *helpers)
    below = wait_for(lambda: len(found := left(family.token, *those, within=0)) == 3 and found)
    os.kill(worker if victim == "worker" else supervisor, signal.SIGKILL)
    # If the supervisor dies, the worker dies by its own guard, and what the worker has started survives:
    # docs/design.md.
    assert left(family.token, parent.pid, *helpers, *(below if victim == "supervisor" else [])) == []


@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_times(family, method: str) -> None:
    """Some moments are in the middle of a start: the worker waits, and its parent becomes its supervisor by an exec."""
    for _ in range(5):
        parent, _, _ = family(method, "for ever", size=2)
        time.sleep(random.uniform(0, 0.3))
        parent.kill()
        assert left(family.token, parent.pid) == []


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_no_memory_is_kept_twice(family, method: str) -> None:
    _, supervisor, _ = family(method, memory=256)
    status = Path(f"/proc/{supervisor}/status").read_text()
    kilobytes = int(status.split("VmRSS:")[1].split()[0])
    assert kilobytes < 4096


def exits(code: object) -> None:
    if isinstance(code, Path):
        code.write_text("it ran")
    elif code == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        sys.exit(code)


@pytest.mark.starts_fork_server
@pytest.mark.parametrize(("code", "expected"), [(0, 0), (7, 7), ("a text", 1), ("kill", -9)])
@pytest.mark.parametrize("method", METHODS)
def test_exit_codes(method: str, code: object, expected: int) -> None:
    process = orphanguard.get_context(method).Process(target=exits, args=(code,), tree=True)
    process.start()
    assert multiprocessing.connection.wait([process.sentinel], DEATH)
    assert orphanguard.wait([process], DEATH) == [process]
    assert process.exitcode == expected
    process.close()


def tells(pipe) -> None:
    parent = multiprocessing.parent_process()
    pipe.send((os.getpid(), os.getppid(), parent.pid, parent.is_alive(), sorted(os.listdir("/proc/self/fd"))))
    subprocess.Popen(["setsid", "sleep", "1000"])
    pipe.send("started")
    time.sleep(1000)


@pytest.mark.starts_fork_server
@pytest.mark.parametrize("how", ["kill", "terminate", "grace"])
@pytest.mark.parametrize("method", METHODS)
def test_kill_and_terminate_are_for_the_tree(method: str, how: str) -> None:
    context = orphanguard.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=tells, args=(there,), tree=True, grace=1 if how == "grace" else None)
    assert (process.command_pid, process.containment) == (None, "subreaper")
    process.start()
    there.close()
    pid, parent, grandparent, alive, _ = here.recv()
    assert (pid, parent, grandparent, alive) == (process.command_pid, process.pid, os.getpid(), True)
    assert here.recv() == "started"
    watched = Watched([process.pid, process.command_pid])
    (process.kill if how == "kill" else process.terminate)()
    process.join(DEATH)
    assert process.exitcode == -(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    assert watched.alive(within=DEATH) == []
    watched.close(kill=False)
    process.close()
    here.close()


SIGPIPE = """
import select, signal, sys
import orphanguard
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def end(): pass
if __name__ == "__main__":
    for call in "kill", "terminate":
        process = orphanguard.get_context(sys.argv[1]).Process(target=end, tree=True)
        process.start()
        select.select([process.sentinel], [], [])
        getattr(process, call)()
        process.join()
    print("alive")
"""


@pytest.mark.parametrize("method", METHODS)
def test_an_order_to_one_that_has_ended(method: str, tmp_path: Path) -> None:
    """kill() after the end must not raise SIGPIPE, whose default action would end the caller."""
    script = tmp_path / "script.py"
    script.write_text(SIGPIPE)
    assert subprocess.check_output([sys.executable, script, method], text=True) == "alive\n"


def guards(pipe) -> None:
    pipe.send((orphanguard.die_with_parent().layers, multiprocessing.current_process().guard.layers))


@pytest.mark.starts_fork_server
@pytest.mark.parametrize("method", METHODS)
def test_what_the_worker_knows_of_its_guard(method: str) -> None:
    context = orphanguard.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=guards, args=(there,), tree=True)
    process.start()
    assert here.recv() == (("supervisor",), ("supervisor",))
    process.join()
    process.close()
    here.close()
    there.close()


# --- starts that fail


@pytest.mark.starts_fork_server
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_containment_that_is_not_to_be_had(method: str, tmp_path: Path) -> None:
    """The worker exists already when the start fails, and does not run."""
    process = orphanguard.get_context(method).Process(target=exits, args=(tmp_path / "ran",), tree="pidns")
    with pytest.raises(GuardUnavailable, match="can't be moved into a pid namespace"):
        process.start()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_supervisor_cannot_be_executed(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    for module in _under_supervisor, _spawn, supervisor:
        monkeypatch.setattr(module, "RUN", "/nonexistent/orphanguard-run")
    process = orphanguard.get_context(method).Process(target=exits, args=(tmp_path / "ran",), tree=True)
    with pytest.raises(OSError, match="No such file or directory"):
        process.start()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("keywords", "error"), [({"tree": "no"}, ValueError), ({"grace": -1}, ValueError), ({"grace": "1"}, TypeError)]
)
def test_bad_input(keywords: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        orphanguard.Process(target=exits, **keywords)

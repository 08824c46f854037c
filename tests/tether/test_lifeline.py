"""What a parent holds for its children: few fds, wherever the free numbers are, and a slot for each to its end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard
from orphanguard._core import lifelines
from tests.support.fdtable import tethers
from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.witness import METHODS, Watched, family, python

SETUP = """import resource
def limit(soft): resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


def pipes_of_lifelines(pid: int) -> list[int]:
    """The read ends that signal (O_ASYNC), and the write ends of their pipes, in a process's table of fds."""
    ends: dict[str, list[int]] = {}
    owned = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # the fd of the listing itself
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            flags = int(Path(f"/proc/{pid}/fdinfo/{name}").read_text().split()[3], 8)
            if target.startswith("pipe:"):
                ends.setdefault(target, []).append(int(name))
                owned |= {target} if flags & fcntl.FASYNC else set()
    return sorted(fd for target in owned for fd in ends[target])


@pytest.mark.parametrize("method", METHODS)
def test_one_fd_a_child_and_no_thread(method: str) -> None:
    with family(method, count=1) as (parent, _):
        count = "say(fds=len(os.listdir('/proc/self/fd')), threads=threading.active_count())"
        before = parent.ask(count)
        parent.tell("more = [ctx.Process(target=child_main, args=(queue, idle, b'')) for _ in range(10)]")
        parent.tell("[p.start() for p in more]; children = [queue.get() for _ in more]")
        after = parent.ask(count)
        # The second is the fork server's status pipe: the server tells the exit status where the kernel can't.
        each = 2 if method == "forkserver" else 1
        assert after["fds"] - before["fds"] == 10 * each
        assert after["threads"] == before["threads"] == 1
        assert pipes_of_lifelines(parent.process.pid) == []
        parent.ask("[(p.kill(), p.join(), p.close()) for p in more]; say(done=True)")
        assert parent.ask(count) == before


@pytest.mark.usefixtures("many_fds")
@pytest.mark.parametrize("kind", ["Process", "Popen"])
def test_two_fds_for_64_children(kind: str) -> None:
    make = {"Process": "ctx.Process(target=idle)", "Popen": "orphanguard.Popen(['sleep', '1000'])"}[kind]
    start = "[p.start() for p in more]" if kind == "Process" else "None"
    count = "say(fds=len(os.listdir('/proc/self/fd')))"
    with family("fork", count=1) as (parent, _):
        before = parent.ask(f"import orphanguard; {count}")["fds"]
        assert len(tethers(parent.process.pid)) == 2
        for left, pairs in (63, 1), (1, 2), (64, 3):  # beside the first child
            parent.tell(f"more = [{make} for _ in range({left})]; {start}; processes.extend(more)")
            before += left
            assert parent.ask(count)["fds"] == before + 2 * (pairs - 1)
            assert len(tethers(parent.process.pid)) == 2 * pairs


# Where the free numbers are when the children start.
PLACES = {
    "soft limit of 64": "limit(64)",
    "soft limit of 24": "limit(24)",
    "all low numbers taken": "keep = [os.dup(0) for _ in range(1200)]",
    "low numbers taken, limit close above": "keep = [os.dup(0) for _ in range(100)]; limit(keep[-1] + 24)",
    "holes below, nothing free above": (
        "limit(120); keep = []\n"
        "while True:\n"
        "    try: keep.append(os.dup(0))\n"
        "    except OSError: break\n"
        "[os.close(fd) for fd in keep[3:60]]"
    ),
    "holes above only": (
        "limit(300); keep = []\n"
        "while True:\n"
        "    try: keep.append(os.dup(0))\n"
        "    except OSError: break\n"
        "[os.close(fd) for fd in keep[-40:]]"
    ),
    "the tether in the way": (
        # The tether gets a low number; then all numbers below it are taken.
        "import orphanguard; orphanguard.Popen(['true']).wait()\nkeep = [os.dup(0) for _ in range(60)]"
    ),
}


@pytest.mark.usefixtures("many_fds")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_wherever_the_free_numbers_are(method: str, place: str) -> None:
    with family(method, "ended", extra=("--before", SETUP + PLACES[place])) as (parent, children):
        assert len(tethers(parent.process.pid)) == 2
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


@as_root
def test_without_proc() -> None:
    """Without /proc no further description of a pipe can be opened. So each child has a strand of its own. It is so in
    a chroot, and as an unprivileged user."""
    before = (
        "libc = ctypes.CDLL(None, use_errno=True); assert libc.unshare(0x20000) == 0; "
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0; "
        "assert libc.mount(b'none', b'/proc', b'tmpfs', 0, None) == 0"
    )
    with family("fork", "main", count=3, extra=("--before", before)) as (parent, children):
        assert (
            len(tethers(parent.process.pid)) == 2 * 3 + 1
        )  # the one is for 64 children, and unused without descriptions
        assert parent.ask("say(flat=[p._popen.child.flat for p in processes])") == {"flat": [0, 0, 0]}
        fds = len(os.listdir(f"/proc/{parent.process.pid}/fd"))
        parent.ask("processes[1].kill(); processes[1].join(); say(done=True)")
        assert len(os.listdir(f"/proc/{parent.process.pid}/fd")) == fds - 2  # its strand; the pidfd stays until close()
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


def test_the_owner_is_the_child_and_then_nobody() -> None:
    process = orphanguard.get_context("fork").Process(target=signal.pause)
    process.start()
    held = process._popen.child.held
    assert held.lifeline == -1
    assert wait_for(lambda: lifelines.owner(held)) == process.pid  # the child arms itself when it runs
    process.kill()
    process.join()
    assert held.strand == -1
    assert lifelines.owner(held) == 0
    process.close()


def test_loaded_before_there_is_a_child() -> None:
    held, _gives_back = lifelines.held()
    lifelines.open(held, pdeathsig=False)
    assert fcntl.fcntl(held.lifeline, F_GETSIG) == signal.SIGKILL
    assert fcntl.fcntl(held.lifeline, fcntl.F_GETFL) & fcntl.FASYNC
    assert fcntl.fcntl(held.lifeline, fcntl.F_GETOWN) == 0
    assert not os.get_inheritable(held.lifeline)


F_GETSIG = 11  # linux/fcntl.h

GIVEN_BACK = """
import os, signal, sys, threading, orphanguard
from orphanguard._core import lifelines
def start():  # in a thread that ends: no PDEATHSIG helps
    program = orphanguard.Popen(["sleep", "1000"], guard=sys.argv[1] == "True")
    if program._child:
        lifelines.give_back(program._child.held)
    other = orphanguard.Popen(["sleep", "1000"])
    print(program.pid, other.pid, flush=True)
    programs.append((program, other))
programs = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
signal.pause()
"""


@pytest.mark.parametrize("guard", [True, False])
def test_a_lifeline_that_is_given_back_too_early(guard: bool) -> None:
    """The slot stays as it is while its owner lives, and no other child gets it."""
    with subprocess.Popen([sys.executable, "-c", GIVEN_BACK, str(guard)], stdout=subprocess.PIPE) as parent:
        program, other = map(int, parent.stdout.readline().split())
        first, second = Watched([program]), Watched([other])
        parent.kill()
        assert second.alive(within=DEATH) == []
        assert first.alive(within=DEATH if guard else LIFE) == ([] if guard else [program])
        first.close()
        second.close()


def test_a_lifeline_that_was_given_back_too_early_is_used_again_later() -> None:
    def places() -> list[tuple[int, int]]:
        """The places of the next three children."""
        three = [lifelines.held() for _ in range(3)]
        for held, _ in three:
            lifelines.open(held, pdeathsig=False)
        found = [(held.strand, held.slot) for held, _ in three]
        for held, _ in three:
            lifelines.let_go(held)  # as if a child were armed on it: then the next children can have the place
            lifelines.give_back(held)
        return found

    with contextlib.ExitStack() as stack:
        program = orphanguard.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        stack.callback(program.wait)
        stack.callback(program.kill)
        held = program._child.held
        place = held.strand, held.slot
        lifelines.give_back(held)
        assert place not in places()
        assert place not in places()
    # Each start looks at a few slots only, and other tests may have left many.
    assert any(place in places() for _ in range(100))


def test_a_forked_child_has_no_tether() -> None:
    """With a copy of the tether it would keep its siblings alive."""
    programs = [orphanguard.Popen(["sleep", "1000"]) for _ in range(3)]
    mine = tethers()
    assert mine
    reader, writer = os.pipe()

    def tell() -> None:
        os.write(writer, json.dumps([tethers(), pipes_of_lifelines(os.getpid())]).encode())

    if os.fork() == 0:
        tell()
        os._exit(0)
    assert json.loads(os.read(reader, 1000)) == [[], []]
    os.wait()
    process = orphanguard.get_context("fork").Process(target=tell)
    process.start()
    there, own = json.loads(os.read(reader, 1000))
    assert there == []
    assert len(own) == 1
    process.join()
    process.close()
    assert tethers() == mine
    for fd in reader, writer:
        os.close(fd)
    for program in programs:
        program.kill()
        program.wait()


def test_fds_are_close_on_exec() -> None:
    with family("fork") as (parent, _):
        parent.ask("forked = os.fork() or os._exit(0); os.waitpid(forked, 0); say(done=True)")
        fds = Path(f"/proc/{parent.process.pid}/fdinfo").iterdir()
        inherited = [info.name for info in fds if not int(info.read_text().split()[3], 8) & os.O_CLOEXEC]
        assert sorted(inherited) == ["0", "1", "2"]


WITHOUT_STDIO = """
import json, os, signal, sys, time
from multiprocessing import resource_tracker
import orphanguard

def report(queue):
    queue.put([os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{fd}")])
    signal.pause()

if __name__ == "__main__":
    out, method = os.dup(1), sys.argv[1]
    context = orphanguard.get_context(method)
    queue = context.SimpleQueue()
    resource_tracker.ensure_running()
    if method == "forkserver":  # the server's own fds are the business of the standard library
        process = context.Process(target=int)
        process.start()
        process.join()
        process.close()
    os.closerange(0, 3)
    processes = [context.Process(target=report, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    hook = orphanguard.PreexecFn()
    in_children = queue.get() + queue.get()
    in_parent = [fd for fd in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{fd}")]
    os.write(out, json.dumps([in_parent, in_children, orphanguard.wait(processes, 0.2) == []]).encode())
    for process in processes:
        process.kill()
        process.join()
"""


@pytest.mark.parametrize("method", METHODS)
def test_none_of_our_fds_is_stdio(method: str, tmp_path: Path) -> None:
    """If fds 0 to 2 were ours, print() would write to a lifeline, and a child's stdin would be a pidfd."""
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_STDIO)
    result = subprocess.run([sys.executable, program, method], stdout=subprocess.PIPE, check=True, timeout=60)
    in_parent, in_children, alive = json.loads(result.stdout)
    assert in_parent == []
    if method != "forkserver":  # its children have the stdio of the server, which is older
        assert [target for target in in_children if target != "/dev/null"] == []
    assert alive


def test_a_forked_child_that_arms_itself_without_stdio() -> None:
    program = """
import os, signal, orphanguard
orphanguard.die_with_parent
os.closerange(0, 3)
if (pid := os.fork()) == 0:
    guard = orphanguard.die_with_parent()
    os._exit(len(guard.layers) if not any(os.path.exists(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python(program).returncode == 2


def test_forked_generations_do_not_pile_up_fds() -> None:
    """Each keeps one read end, of its own parent's pipe, and none of its ancestors' pipes."""
    program = """
import os, orphanguard
orphanguard.die_with_parent
counts = []
for generation in range(4):
    if (pid := os.fork()):
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    counts.append(len(os.listdir("/proc/self/fd")))
os._exit(0 if len(set(counts)) == 1 else 1)
"""
    assert python(program).returncode == 0

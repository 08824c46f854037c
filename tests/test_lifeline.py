"""The lifeline's fds: few of them, in the right order, wherever the free numbers are."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from witness import DEATH, LIFE, METHODS, Watched, family

import orphanguard
from orphanguard import _native

SETUP = """import resource
def limit(soft): resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


def lifeline_fds(pid: int) -> tuple[list[int], list[int]]:
    """The write ends and the armed or armable read ends of a process, from /proc/PID/fdinfo."""
    by_pipe: dict[str, tuple[list[int], list[int]]] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:  # of the listing itself
            continue
        if not target.startswith("pipe:"):
            continue
        with open(f"/proc/{pid}/fdinfo/{name}") as info:
            flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
        ends = by_pipe.setdefault(target, ([], []))
        if flags & os.O_ACCMODE == os.O_WRONLY:
            ends[0].append(int(name))
        elif flags & fcntl.FASYNC:
            ends[1].append(int(name))
    writers = [fd for writes, reads in by_pipe.values() if reads for fd in writes]
    readers = [fd for _, reads in by_pipe.values() for fd in reads]
    return writers, readers


@pytest.mark.parametrize("method", METHODS)
def test_two_fds_a_child_and_no_thread(method: str) -> None:
    with family(method, count=1) as (parent, _):
        count = "say(fds=len(os.listdir('/proc/self/fd')), threads=threading.active_count())"
        take_spare = "from orphanguard import _native as n; spare = n.lifeline_open(pdeathsig=False)"
        parent.tell(take_spare)
        before = parent.ask(count)
        parent.tell("more = [ctx.Process(target=child_main, args=(queue, idle, b'')) for _ in range(10)]")
        parent.tell("[p.start() for p in more]; children = [queue.get() for _ in more]")
        after = parent.ask(count)
        # The fork server's status pipe is the third: where the kernel can't tell, the server does.
        each = 3 if method == "forkserver" else 2
        assert after["fds"] - before["fds"] == 10 * each
        assert after["threads"] == before["threads"] == 1
        parent.ask("[(p.kill(), p.join(), p.close()) for p in more]; say(done=True)")
        # One description in all is kept, for the next child.
        assert parent.ask(count) == before | {"fds": before["fds"] + 1}


# Where the free numbers are when the children start: none above, holes below, one by one to the limit.
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
    "the write end in the way": (
        # Made first and low, under a low limit; then everything below it is taken.
        "limit(40); import orphanguard._native as n; n.lifeline_close(n.lifeline_open(pdeathsig=False)); limit(4096)\n"
        "keep = [os.dup(0) for _ in range(60)]"
    ),
    "the write end at the very top, nothing else free below": (
        "limit(60); import orphanguard._native as n; n.lifeline_close(n.lifeline_open(pdeathsig=False)); keep = []\n"
        "while True:\n"
        "    try: keep.append(os.dup(0))\n"
        "    except OSError: break\n"
        "[os.close(fd) for fd in keep[-14:]]"
    ),
}


@pytest.mark.usefixtures("many_fds")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_wherever_the_free_numbers_are(method: str, place: str) -> None:
    with family(method, "ended", extra=("--before", SETUP + PLACES[place])) as (parent, children):
        writers, readers = lifeline_fds(parent.process.pid)
        assert len(writers) == 1
        assert len(readers) >= 2
        assert max(readers) < writers[0]
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.usefixtures("many_fds")
def test_the_order_is_kept_while_the_write_ends_move() -> None:
    """Many children push them up, and more pipes come; none of those that came before may notice."""
    with family("fork", "ended", count=5, extra=("--before", SETUP + "limit(60)")) as (parent, first):
        parent.tell("limit(4096)")
        parent.tell("more = [ctx.Process(target=child_main, args=(queue, idle, b'')) for _ in range(160)]")
        later = parent.ask("[p.start() for p in more]; say(children=[queue.get() for _ in more])")
        children = parent.watch(later["children"])
        writers, readers = lifeline_fds(parent.process.pid)
        assert len(writers) == 3  # 64 children on a pipe
        assert len(readers) == 165
        assert max(readers) < min(writers)
        assert len(first.alive(within=LIFE)) == 5
        parent.kill()
        assert children.alive(within=DEATH) == []
        assert first.alive(within=DEATH) == []


def test_room_on_a_pipe_is_used_again() -> None:
    with family("fork", count=1) as (parent, _):
        for _ in range(3):
            parent.tell("more = [ctx.Process(target=idle) for _ in range(100)]; [p.start() for p in more]")
            parent.tell("[p.kill() for p in more]; [p.join() for p in more]; [p.close() for p in more]")
        parent.ask("say(done=True)")
        pipes = {
            os.readlink(f"/proc/{parent.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{parent.process.pid}/fd")
        }
        assert len([target for target in pipes if target.startswith("pipe:")]) <= 6  # 2 lifelines, the queue, stdio


def test_without_proc() -> None:
    """A description can't be re-opened: a pipe for each child. In a chroot, and as an unprivileged user would be."""
    if os.geteuid() != 0:
        pytest.skip("only root can unmount /proc, in a mount namespace of its own")
    before = (
        "libc = ctypes.CDLL(None, use_errno=True); assert libc.unshare(0x20000) == 0; "
        "assert libc.mount(b'none', b'/', None, 0x44000, None) == 0; "
        "assert libc.mount(b'none', b'/proc', b'tmpfs', 0, None) == 0"
    )
    with family("fork", "main", count=3, extra=("--before", before)) as (parent, children):
        writers, readers = lifeline_fds(parent.process.pid)
        assert len(writers) == len(readers) == 3
        fds = len(os.listdir(f"/proc/{parent.process.pid}/fd"))
        parent.ask("processes[1].kill(); processes[1].join(); say(done=True)")
        assert len(os.listdir(f"/proc/{parent.process.pid}/fd")) == fds - 2  # its pipe; the pidfd stays until close()
        assert len(children.alive(within=LIFE)) == 2
        parent.kill()
        assert children.alive(within=DEATH) == []


def test_the_owner_is_the_child_and_then_nobody() -> None:
    process = orphanguard.get_context("fork").Process(target=signal.pause)
    process.start()
    lifeline = process._popen.child.lifeline
    assert fcntl.fcntl(lifeline, fcntl.F_GETSIG) == signal.SIGKILL
    while not _native.lifeline_owner(lifeline):
        pass
    assert _native.lifeline_owner(lifeline) == process.pid
    spare = os.dup(lifeline)
    process.kill()
    process.join()
    assert _native.lifeline_owner(spare) == 0
    os.close(spare)


GIVEN_BACK = """
import os, signal, sys, threading, orphanguard
from orphanguard import _native
def start():  # in a thread that ends: no PDEATHSIG helps
    program = orphanguard.Popen(["sleep", "1000"])
    lifeline = program._child.lifeline
    if sys.argv[1] == "given back":
        _native.lifeline_give_back(program._child.held)
    else:
        os.close(lifeline)
    other = orphanguard.Popen(["sleep", "1000"])
    print(program.pid, other.pid, flush=True)
    programs.append((program, other))
programs = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
signal.pause()
"""


@pytest.mark.parametrize("how", ["given back", "closed"])
def test_a_lifeline_that_is_given_back_too_early(how: str) -> None:
    """It stays as it is while its owner lives, and nobody else gets it. Closed, that one would outlive the parent."""
    with subprocess.Popen([sys.executable, "-c", GIVEN_BACK, how], stdout=subprocess.PIPE) as parent:
        program, other = map(int, parent.stdout.readline().split())
        first, second = Watched([program]), Watched([other])
        parent.kill()
        assert second.alive(within=DEATH) == []
        assert first.alive(within=DEATH if how == "given back" else LIFE) == ([] if how == "given back" else [program])
        first.close()
        second.close()


def test_a_lifeline_that_was_given_back_too_early_is_closed_later() -> None:
    program = orphanguard.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
    lifeline = program._child.lifeline
    _native.lifeline_give_back(program._child.held)
    others = [_native.lifeline_open(pdeathsig=False) for _ in range(2)]
    assert lifeline not in others
    program.kill()
    program.wait()
    more = [_native.lifeline_open(pdeathsig=False) for _ in range(2)]
    assert lifeline in more  # that very one, or its number
    for fd in (*others, *more):
        _native.lifeline_close(fd)


F_GETSIG = 11  # linux/fcntl.h


def loaded() -> list[int]:
    """Its descriptions of lifelines."""
    fds = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    return [fd for fd in fds if fcntl.fcntl(fd, F_GETSIG) == signal.SIGKILL]


def test_a_forked_child_has_no_siblings_description() -> None:
    """Else it could be the last to have it, in the middle of the parent's end."""
    programs = [orphanguard.Popen(["sleep", "1000"]) for _ in range(3)]
    assert len(loaded()) >= 3
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, bytes([len(loaded())]))
        os._exit(0)
    assert os.read(reader, 1) == b"\0"
    os.wait()
    process = orphanguard.get_context("fork").Process(target=lambda: os.write(writer, bytes([len(loaded())])))
    process.start()
    assert os.read(reader, 1) == b"\1"  # its own
    process.join()
    process.close()
    for fd in reader, writer:
        os.close(fd)
    for program in programs:
        program.kill()
        program.wait()


def test_fds_are_close_on_exec() -> None:
    fd = _native.lifeline_open(pdeathsig=False)
    assert not os.get_inheritable(fd)
    _native.lifeline_close(fd)
    with family("fork") as (parent, _):
        writers, readers = lifeline_fds(parent.process.pid)
        for end in (*writers, *readers):
            with open(f"/proc/{parent.process.pid}/fdinfo/{end}") as info:
                assert int(info.read().split()[3], 8) & os.O_CLOEXEC


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
    if method == "forkserver":  # the server's own fds are the standard library's
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
    """In a parent with 0 to 2 closed a print() would write to a lifeline, and a child's stdin be a pidfd."""
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_STDIO)
    result = subprocess.run([sys.executable, program, method], stdout=subprocess.PIPE, check=True, timeout=60)
    in_parent, in_children, alive = json.loads(result.stdout)
    assert in_parent == []
    if method != "forkserver":  # its children have the stdio of the server, which was started before
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
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 2


def test_forked_generations_do_not_pile_up_fds() -> None:
    """Each keeps one read end, of its parent's pipe: not those of all its ancestors."""
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
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0

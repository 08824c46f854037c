"""A program that gevent has patched: before|after what.

"after": the patch comes after the import and the first use of our modules. what: the name of a function below, which
prints its results as JSON lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

order, what = sys.argv[1:3]
if order == "after":
    import orphanguard

    orphanguard.run(["true"])
    for name in orphanguard.__all__:
        getattr(orphanguard, name)

import gevent.monkey  # noqa: E402

gevent.monkey.patch_all()

import gevent  # noqa: E402
import gevent.event  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2]))

import orphanguard  # noqa: E402
from tests.support.actor import say  # noqa: E402

PIPE = subprocess.PIPE
FIFO = os.environ.setdefault("ORPHANGUARD_TEST_FIFO", os.path.join(tempfile.gettempdir(), f"fifo-{os.getpid()}"))


def until_released() -> None:
    with open(FIFO, "rb", buffering=0) as fifo:
        fifo.read(1)


def release() -> None:
    """Ends the wait of another greenlet. A wait that lets no other greenlet run never ends."""
    fd = os.open(FIFO, os.O_RDWR)
    os.write(fd, b"\n")
    gevent.sleep(60)


def program(then: str = "exit 3", **options):
    return orphanguard.Popen(["sh", "-c", f"read x < {FIFO}; {then}"], **options)


def process(method: str, **options):
    child = orphanguard.get_context(method).Process(target=until_released, **options)
    child.start()
    return child


def waits(timeout) -> object:
    return program().wait(timeout)


def communicates() -> object:
    out, err = program("cat; echo err >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True).communicate("x" * 200_000)
    return len(out), err


def reads() -> object:
    with program("echo out", stdout=PIPE) as popen:
        return popen.stdout.read().decode()


def runs() -> object:
    return orphanguard.run(["sh", "-c", f"read x < {FIFO}; echo out"], timeout=60, capture_output=True).stdout.decode()


def checks_output() -> object:
    return orphanguard.check_output(["sh", "-c", f"read x < {FIFO}; echo out"]).decode()


def joins(method: str, **options) -> object:
    child = process(method, **options)
    child.join()
    return child.exitcode


def waits_for_some() -> object:
    children = {process("fork"), orphanguard.Process(target=gevent.sleep, args=(60,))}
    for child in children:
        if child.pid is None:
            child.start()
    done = orphanguard.wait(children)
    for child in children:
        child.kill()
        child.join()
    return [child.exitcode for child in done]


def hook() -> None:
    pass


COOPERATIVE = {
    "wait": lambda: waits(None),
    "wait with a timeout": lambda: waits(60),
    "tree": lambda: program(tree=True).wait(),
    "preexec_fn": lambda: program(preexec_fn=hook).wait(),
    "user": lambda: program(user=os.getuid()).wait(),
    "communicate": communicates,
    "read": reads,
    "run": runs,
    "check_output": checks_output,
    "fork": lambda: joins("fork"),
    "fork, tree": lambda: joins("fork", tree=True),
    "spawn": lambda: joins("spawn"),
    "forkserver": lambda: joins("forkserver"),
    "orphanguard.wait": waits_for_some,
}


def cooperative() -> None:
    os.mkfifo(FIFO)
    try:
        for name in sys.argv[3:] or COOPERATIVE:
            releaser = gevent.spawn(release)
            say(**{name: COOPERATIVE[name]()})
            releaser.kill()
    finally:
        os.unlink(FIFO)


def crowd() -> None:
    """Greenlets that wait for children of their own, for the same ones, and for a Popen."""
    children = [orphanguard.get_context("fork").Process(target=sys.exit, args=(number,)) for number in range(8)]
    for child in children:
        child.start()

    def one(child) -> int:
        while child not in orphanguard.wait([child, children[0]]):
            gevent.sleep(0)
        return child.exitcode

    def joined(child) -> int:
        child.join()
        return child.exitcode

    def ran(number: int) -> int:
        return orphanguard.run(["sh", "-c", f"exit {number}"]).returncode

    jobs = [gevent.spawn(one, child) for child in children]
    jobs += [gevent.spawn(joined, child) for child in children]
    jobs += [gevent.spawn(ran, number) for number in range(8)]
    gevent.joinall(jobs, raise_error=True)
    say(codes=[job.value for job in jobs])


def alone() -> None:
    """No other greenlet has anything to do, so gevent's hub wakes up for nobody else."""
    out = []
    for options in ({}, {"preexec_fn": hook}, {"tree": True}, {"guard": False}) * 3:
        # No program writes: output would wake the hub up.
        out.append(orphanguard.run(["true"], capture_output=True, **options).stdout.decode())
    codes = []
    for method in ("fork", "spawn", "forkserver"):
        child = orphanguard.get_context(method).Process(target=hook)
        child.start()
        codes.append(orphanguard.wait([child]) == [child] and child.exitcode)
    say(out=out, codes=codes)


def missing() -> None:
    """A start that fails."""
    said = []
    for options in ({}, {"preexec_fn": hook}, {"tree": True}):
        try:
            orphanguard.Popen(["/no/such/program"], **options)
        except FileNotFoundError as error:
            said.append(error.filename)
    try:
        orphanguard.run(["cat"], input=b"x", timeout=0.01, stdout=PIPE, start_new_session=True)
        orphanguard.run(["sleep", "60"], timeout=0.01)
    except subprocess.TimeoutExpired as error:
        said.append(type(error).__name__)
    say(said=said)


def beside() -> None:
    """gevent.subprocess has libev reap every child."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", orphanguard.StatusLostWarning)
        codes = []
        for _ in range(5):
            theirs, ours = subprocess.Popen(["true"]), orphanguard.Popen(["sh", "-c", "exit 7"])
            child = orphanguard.get_context("fork").Process(target=sys.exit, args=(9,))
            child.start()
            theirs.wait()
            gevent.sleep(0.05)  # by now libev may have reaped ours too
            child.join()
            codes.append([ours.wait(), child.exitcode])
    say(codes=codes, lost=len(caught))


def parent() -> None:
    popen = {"guarded": orphanguard.Popen, "plain": subprocess.Popen}[sys.argv[3]]
    programs = [popen(["sleep", "1000"])]
    thread = gevent.spawn(lambda: programs.append(popen(["sleep", "1000"])))
    thread.join()
    pids = [each.pid for each in programs]
    if sys.argv[3] == "guarded":
        for method in ("fork", "spawn", "forkserver"):
            child = orphanguard.get_context(method).Process(target=gevent.sleep, args=(1000,))
            child.start()
            pids.append(child.pid)
        pids.append(orphanguard.Popen(["sleep", "1000"], preexec_fn=hook).pid)
        tree = orphanguard.Popen(["sleep", "1000"], tree=True)
        pids += [tree.pid, tree.command_pid]
    say(children=pids)
    gevent.event.Event().wait()


if __name__ == "__main__":
    globals()[what]()

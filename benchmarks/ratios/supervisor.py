"""orphanguard-run against its peers from Debian, and against one cgroup.kill.

Start: the wrapper with /bin/true, spawned and waited for. Death: a tree of 1,000 processes that have called setsid and
were forked twice, all of them adopted. orphanguard-run is timed from the SIGKILL of its parent, cgroup.kill from the
write to it, both to the end of the last process. Idle: what a supervisor needs while it does nothing.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..common.worker import await_ready
from .subject import main

SIZE = 1000
TRUE = "/bin/true"
PEERS = {
    "tini": ["tini", "-s", "--", TRUE],
    "dumb-init": ["dumb-init", TRUE],
    "catatonit": ["catatonit", TRUE],
    "bwrap": ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", TRUE],
    "unshare": ["unshare", "-Urpf", "--kill-child", TRUE],
}


def tree(ready):
    """The command: 1,000 processes that have left their parent, their group and their session."""
    for _ in range(SIZE):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(ready, b".")
                while True:
                    signal.pause()
            os._exit(0)
        os.wait()
    while True:
        signal.pause()


def spawn_and_wait(arguments):
    path = shutil.which(arguments[0])

    def measure():
        before = time.perf_counter_ns()
        pid = os.posix_spawn(path, arguments, os.environ)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - before
        if status:
            raise RuntimeError(f"{arguments} ended with status {status}")
        return took

    return measure


def starts(rounds):
    from orphanguard._bin import RUN

    from .measure import compare, interleaved

    there = {name: command for name, command in PEERS.items() if shutil.which(command[0])}
    for name in sorted(set(PEERS) - set(there)):
        print(f"{name} is not installed: left out", file=sys.stderr)
    sides = {"ours": [RUN, TRUE], "alone": [TRUE], "pidns": [RUN, "--tree=pidns", TRUE], **there}
    took = interleaved(rounds(300), **{name: spawn_and_wait(command) for name, command in sides.items()})
    return [
        *(compare(f"orphanguard-run true, to {name}", took["ours"], took[name], 1, name) for name in there),
        *(
            compare(f"orphanguard-run --tree=pidns true, to {name}", took["pidns"], took[name], None, name)
            for name in there
            if name in ("bwrap", "unshare")
        ),
        compare("orphanguard-run true, to true", took["ours"], took["alone"], None, "true alone"),
    ]


class Tree:
    """A parent with 1,000 descendants below orphanguard-run, or (``wrapper`` empty) below the parent itself."""

    def __init__(self, wrapper, cgroup=None):
        reader, writer = os.pipe()
        command = [sys.executable, "-SE", "-m", "benchmarks.ratios.supervisor", "tree", str(writer)]
        enter = f"echo $$ >{cgroup}/cgroup.procs; " if cgroup else ""
        self.parent = subprocess.Popen(
            ["sh", "-c", enter + '"$@" & wait', "sh", *wrapper, *command],
            pass_fds=[writer],
            cwd=Path(__file__).parents[2],
        )
        os.close(writer)
        self.pidfds = []
        try:
            await_ready(reader, SIZE)
            # Found by their command line: in a pid namespace they know themselves by other pids.
            mark = f"benchmarks.ratios.supervisor\0tree\0{writer}\0".encode()
            for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if command.startswith(sys.executable.encode()) and command.endswith(mark):
                        self.pidfds.append(os.pidfd_open(pid))
            if len(self.pidfds) != SIZE + 1:  # and the command itself
                raise RuntimeError(f"found {len(self.pidfds)} processes of {SIZE + 1}")
        except BaseException:
            self.close()
            raise
        finally:
            os.close(reader)

    def close(self):
        self.parent.kill()
        self.parent.wait()
        for pidfd in self.pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def time_to_the_last(tree_, kill):
    from .measure import deaths_after

    return max(deaths_after(kill, tree_.pidfds).values())


def ours(*options):
    from orphanguard._bin import RUN

    from ..common.processes import reap_all

    tree_ = Tree([RUN, *options])
    try:
        return time_to_the_last(tree_, tree_.parent.kill)
    finally:
        tree_.close()
        reap_all()


def by_cgroup(directory):
    from ..common.processes import reap_all

    cgroup = directory / f"orphanguard-benchmark-{os.getpid()}"
    cgroup.mkdir()
    try:
        tree_ = Tree([], cgroup)
        took = time_to_the_last(tree_, lambda: (cgroup / "cgroup.kill").write_text("1"))
        tree_.close()
        return took
    finally:
        (cgroup / "cgroup.kill").write_text("1")
        reap_all()
        cgroup.rmdir()


def own_cgroup():
    mounts = [
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line
    ]
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    directory = Path(mounts[0], own[0].strip("/")) if mounts and own else None
    return directory if directory and os.access(directory, os.W_OK) else None


def deaths(rounds):
    from ..common.processes import adopt_orphans
    from .measure import compare, interleaved

    adopt_orphans()  # what is left over is ours to reap
    directory = own_cgroup()
    if directory is None:
        print("no cgroup v2 that we may use: nothing to compare the end of a tree with", file=sys.stderr)
        return []
    sides = {
        "ours": ours,
        "pidns": lambda: ours("--tree=pidns"),
        "cgroup": lambda: ours("--tree=cgroup"),
        "kill": lambda: by_cgroup(directory),
    }
    took = interleaved(rounds(16), **sides)
    what = f"parent's SIGKILL to the end of the last of {SIZE:,} adopted ones"
    return [
        compare(f"{what}, subreaper", took["ours"], took["kill"], 2, "one cgroup.kill"),
        compare(f"{what}, pidns", took["pidns"], took["kill"], None, "one cgroup.kill"),
        compare(f"{what}, cgroup", took["cgroup"], took["kill"], None, "one cgroup.kill"),
    ]


def idle():
    from orphanguard._bin import RUN

    from .measure import Row

    reader, writer = os.pipe()
    process = subprocess.Popen([RUN, f"--status-fd={writer}", "sleep", "1000"], pass_fds=[writer])
    os.close(writer)
    with open(reader) as lines:
        json.loads(lines.readline())
        time.sleep(0.1)

        def used():
            fields = Path(f"/proc/{process.pid}/schedstat").read_text().split()
            return int(fields[0])

        before = used()
        time.sleep(2)
        spent = used() - before
        status = Path(f"/proc/{process.pid}/status").read_text()
        (resident,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        process.kill()
        process.wait()
    return [
        Row("supervisor: resident memory, MiB", resident / 1024, 1, sides=f"{resident} KiB"),
        Row("supervisor: CPU time in 2 idle seconds, µs", spent / 1000, 0),
    ]


def measure(rounds):
    return starts(rounds) + deaths(rounds) + idle()


if __name__ == "__main__":
    if sys.argv[1:2] == ["tree"]:
        tree(int(sys.argv[2]))
    main(measure)

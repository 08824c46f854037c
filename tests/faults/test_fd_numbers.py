"""A program closes our fds while children live, and gets their numbers for files of its own. We do not touch those."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.kernel import injected, strace

# As before Linux 6.9, which has no pidfs: there we tell pidfds apart by /proc.
OLD = injected("fstatfs:error=ENOSYS")
KERNELS = [
    pytest.param((), id="pidfs"),
    pytest.param(OLD, id="old-kernel", marks=strace),
]

PROGRAM = """
import errno, gc, json, os, select, signal, subprocess, sys, time
from multiprocessing import resource_tracker
import orphanguard

def refused(function, *args):
    try:
        result = function(*args)
    except OSError as error:
        return errno.errorcode[error.errno] == "EBADF" and "pidfd" in str(error)
    return result

if __name__ == "__main__":
    context = orphanguard.get_context("spawn")  # armed with PDEATHSIG too: it outlives the closing of its lifeline
    process = context.Process(target=time.sleep, args=(1000,))
    process.start()
    earlier = orphanguard.get_context(sys.argv[1]).Process(target=int)
    earlier.start(), earlier.join(), earlier.close()
    victim = subprocess.Popen(["sleep", "1000"])
    number, epoll = process.sentinel, orphanguard._core.waiting.registry()._epoll.fileno()
    os.closerange(3, 20000)
    resource_tracker._resource_tracker._fd = None  # else the standard library would close that number
    mine = [os.pidfd_open(victim.pid) for _ in range(40)]
    os.close(epoll)
    my_epoll = select.epoll()
    answer = {
        "the numbers are taken": number in mine and my_epoll.fileno() == epoll,
        "kill": refused(process.kill),
        "join": refused(process.join, 0.2),
        "is_alive": refused(process.is_alive),
        "wait": refused(orphanguard.wait, [process], 0.2),
    }
    other = orphanguard.get_context(sys.argv[1]).Process(target=int)
    other.start()
    answer["another one is waited for"] = orphanguard.wait([other], 30) == [other]
    answer["my epoll is empty"] = "tfd" not in open(f"/proc/self/fdinfo/{epoll}").read()
    process._popen.close()
    pid, process = process.pid, None
    gc.collect()
    answer["mine are open"] = all(fd == epoll or os.path.exists(f"/proc/self/fd/{fd}") for fd in mine)
    answer["the victim lives"] = victim.poll() is None
    os.kill(pid, 9), victim.kill()
    print(json.dumps(answer), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_nothing_of_the_programs_is_touched(method: str, kernel: tuple[str, ...], tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    result = subprocess.run([*kernel, sys.executable, program, method], stdout=subprocess.PIPE, check=True, timeout=90)
    answer = json.loads(result.stdout)
    assert answer == dict.fromkeys(answer, True)

"""A strand has slots for 64 children, and for 64 others when those are gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.fdtable import tethers
from tests.support.holders import SHORT
from tests.support.proc import DEATH, LIFE
from tests.support.witness import Parent, parent

SETUP = """
import orphanguard
def start(count, *command):  # in a thread that ends, so no PDEATHSIG helps
    programs = []
    thread = threading.Thread(
        target=lambda: programs.extend(Popen(command or SLEEP) for _ in range(count)))
    thread.start(), thread.join()
    return programs
def hooked(count):
    programs = []
    def run():
        for _ in range(count):
            programs.append(standard.Popen(SLEEP, preexec_fn=orphanguard.PreexecFn()))
    thread = threading.Thread(target=run)
    thread.start(), thread.join()
    return programs
def end(programs):
    for program in programs:
        program.kill()
        program.wait()
"""


@contextlib.contextmanager
def program() -> Iterator[Parent]:
    with parent("programs", "main", "guarded", "--before", SETUP) as running:
        assert running.read() == {"children": []}
        yield running


def pairs(running: Parent, statement: str, forks: bool = False) -> int:
    """How many tethers the program has after ``statement``, each with its queue. The tether of foreign forks is not
    counted."""
    running.ask(f"{statement}; say(done=True)")
    fds = len(tethers(running.process.pid)) - forks
    assert fds % 2 == 0
    return fds // 2


def test_one_after_another() -> None:
    with program() as running:
        assert pairs(running, "[start(1, 'true')[0].wait() for _ in range(300)]") == 1
        process = "orphanguard.get_context('fork').Process(target=int)"
        assert pairs(running, f"[(p.start(), p.join()) for p in [{process} for _ in range(100)]]") == 1


@pytest.mark.usefixtures("many_fds")
def test_many_come_and_go() -> None:
    with program() as running:
        for _ in range(3):
            assert pairs(running, "many = start(200)") == 4
            assert pairs(running, "end(many)") == 1


@pytest.mark.usefixtures("many_fds")
def test_one_stays_on_each() -> None:
    """The slots beside it are used again, and nobody else gets its own."""
    with program() as running:
        assert pairs(running, "first = start(3 * 64)") == 3
        stay = running.ask("stay = first[5::64]; end(p for p in first if p not in stay); say(p=[p.pid for p in stay])")
        for _ in range(3):
            assert pairs(running, "more = start(3 * 64 - 3)") == 3
            assert pairs(running, "end(more)") == 3
        pids = running.ask("more = start(3 * 64 - 3); say(p=[p.pid for p in more])")
        old, new = running.watch(stay["p"]), running.watch(pids["p"])
        assert len(old.alive(within=LIFE)) == 3
        assert len(new.alive(within=SHORT)) == 3 * 64 - 3
        running.kill()
        assert old.alive(within=DEATH) == new.alive(within=DEATH) == []


@pytest.mark.usefixtures("many_fds")
def test_given_back_while_they_live() -> None:
    """A hook is collected when its program runs. The program stays guarded, and its slot is kept until it is gone."""
    with program() as running:
        assert pairs(running, "old = hooked(64)", forks=True) == 1
        assert pairs(running, "more = start(64)", forks=True) == 2
        running.ask("end(old[:32]); more += start(32); say(done=True)")
        assert pairs(running, "pass", forks=True) <= 3  # each start looks at some slots only
        old = running.watch(running.ask("say(p=[p.pid for p in old[32:]])")["p"])
        new = running.watch(running.ask("say(p=[p.pid for p in more])")["p"])
        assert (len(old.alive(within=LIFE)), len(new.alive(within=SHORT))) == (32, 96)
        running.kill()
        assert old.alive(within=DEATH) == new.alive(within=DEATH) == []


@pytest.mark.usefixtures("many_fds")
def test_given_back_and_gone() -> None:
    with program() as running:
        for _ in range(3):
            assert pairs(running, "end(hooked(64)); end(start(1))", forks=True) <= 2
        # Each start looks at some slots.
        assert pairs(running, "[end(start(1)) for _ in range(40)]", forks=True) == 1


QUEUE = """
def in_queue():
    import re
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try: text = open(f"/proc/self/fdinfo/{fd}").read()
        except OSError: continue
        if count := re.search(r"scm_fds:\\s*([1-9]\\d*)", text): found[int(fd)] = int(count[1])
    return found
"""


def test_the_program_closes_the_queue() -> None:
    """The program closes the queue, not the tether. Nobody dies of that, and the next children get another strand."""
    with program() as running:
        running.tell(f"exec({QUEUE!r}, globals())")
        answer = running.ask("old = start(10); say(p=[p.pid for p in old], queues=in_queue())")
        old = running.watch(answer["p"])
        # The tether holds three fds: the one by which further descriptions are opened, the queue, and the write end.
        [queue] = [fd for fd, count in answer["queues"].items() if count == 10]
        running.ask(f"os.close({queue}); say(done=True)")
        answer = running.ask("new = start(10); say(p=[p.pid for p in new], flat=[p._child.flat for p in new])")
        assert answer["flat"] == [0] * 10
        new = running.watch(answer["p"])
        assert len(old.alive(within=LIFE)) == len(new.alive(within=SHORT)) == 10
        assert running.ask("end(old[:5]); end(new[:5]); say(done=True)")
        assert len(old.alive(within=LIFE)) == len(new.alive(within=SHORT)) == 5
        running.kill()
        assert old.alive(within=DEATH) == new.alive(within=DEATH) == []


def test_closed_queues_do_not_pile_up() -> None:
    with program() as running:
        running.tell(f"exec({QUEUE!r}, globals())")
        count = "say(fds=len(os.listdir('/proc/self/fd')))"
        close = "end(start(5)); [os.close(fd) for fd, n in in_queue().items() if n == 5]; end(start(1))"
        running.ask(f"{close}; {count}")
        before = running.ask(f"{close}; {count}")
        for _ in range(5):
            assert running.ask(f"{close}; {count}") == before

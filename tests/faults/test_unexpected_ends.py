"""Starts in whose middle the child or the caller does something unexpected. Each case was found by reading."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard
from tests.support.actor import held_by_another_thread, in_a_fork
from tests.support.proc import DEATH, wait_for
from tests.support.witness import Token

LATE = """
import os, signal, sys
if __name__ == "__mp_main__": os._exit(5)  # as an import that fails would
import orphanguard
from orphanguard._core import polling
from orphanguard.multiprocessing import _forkserver
write = _forkserver._write
def late(pipe_end, data, child):
    if child.answered:
        polling.wait_readable(child.pidfd, None)
    write(pipe_end, data, child)
_forkserver._write = late
if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for size in (1, 10_000_000):
        context, tree = orphanguard.get_context("forkserver"), bool(sys.argv[1:])
        process = context.Process(target=len, args=(bytes(size),), tree=tree)
        process.start()
        process.join()
        print(process.exitcode)
"""


@pytest.mark.parametrize("tree", [(), ("tree",)], ids=["", "tree"])
def test_a_fork_servers_child_that_ends_before_it_has_read_all(tree: tuple[str, ...], tmp_path: Path) -> None:
    """The child has started and ended. The parent neither raises nor dies of SIGPIPE."""
    program = tmp_path / "program.py"
    program.write_text(LATE)
    command = [sys.executable, program, *tree]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEATH, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n5\n"), done.stderr


@pytest.mark.parametrize("call", ["send_signal(0)", "terminate()", "kill()"])
def test_a_forked_child_does_not_wait_for_a_thread_that_it_has_not(call: str) -> None:
    """At the fork another thread holds the program's lock. The fork has the lock, and not the thread."""
    program = orphanguard.Popen(["sleep", "1000"])
    with held_by_another_thread(program._child._lock):
        assert in_a_fork(lambda: eval(f"program.{call}", {"program": program})) == 5
    program.kill()
    program.wait()


def test_a_copy_of_one_that_is_waited_for() -> None:
    with orphanguard.Popen(["sleep", "1000"]) as program:
        assert orphanguard.wait([program], timeout=0) == []
        with pytest.raises(ValueError, match="is a copy of"):
            orphanguard.wait([copy.copy(program)], timeout=0)
        program.kill()


def test_a_failed_start_in_a_loop_does_not_wait_for_what_the_program_has_started() -> None:
    """A process that the program has started may keep the pipes open."""
    token = Token()

    def refuse(loop: object, coroutine: object, **kwargs: object) -> None:
        wait_for(lambda: len(token.holders()) == 2)
        coroutine.close()
        raise RuntimeError("no task")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(refuse)
        try:
            await orphanguard.create_subprocess_exec(
                "sh", "-c", "sleep 1000 & exec sleep 1000", stdout=subprocess.PIPE, env=token.environment
            )
        finally:
            loop.set_task_factory(None)

    try:
        with pytest.raises(RuntimeError, match="no task"):
            asyncio.run(main())
    finally:
        token.clean_up()

"""Keywords that are not taken: the message names what was called, and what to use."""

from __future__ import annotations

import inspect
import multiprocessing

import pytest

import orphanguard
from orphanguard.multiprocessing import managers, pool


class Worker(orphanguard.Process):
    def __init__(self, depth: int) -> None:
        super().__init__(guard=False)


CONTEXT = orphanguard.get_context("spawn")
UNGUARDED, SIGKILL, ELSEWHERE = (
    "is the unguarded one",
    "workers get SIGKILL",
    "Process takes it, and for programs Popen",
)
SAID = [
    (orphanguard.Process, "guard", r"^Process\(\) got .* multiprocessing\.Process is the unguarded one$"),
    (
        CONTEXT.Process,
        "guard",
        r"^SpawnProcess\(\) got .* multiprocessing\.context\.SpawnProcess is the unguarded one$",
    ),
    (orphanguard.Process, "death_signal", rf"^Process\(\) got .* {SIGKILL}"),
    (
        orphanguard.get_context("fork").Process,
        "deamon",
        r"^ForkProcess\(\) got .* group, target, name, .*, tree, grace$",
    ),
    (orphanguard.get_context("forkserver").Process, "deamon", r"^ForkServerProcess\(\) got"),
    *[
        (call, keyword, rf"{name}\(\) got an unexpected keyword argument '{keyword}': .*{said}")
        for call, name in (
            (orphanguard.Pool, "Pool"),
            (CONTEXT.Pool, "Pool"),
            (pool.Pool, "Pool"),
            (orphanguard.Manager, "Manager"),
            (CONTEXT.Manager, "Manager"),
            (managers.BaseManager, "BaseManager"),
            (managers.SharedMemoryManager, "SharedMemoryManager"),
            (orphanguard.ProcessPoolExecutor, "ProcessPoolExecutor"),
        )
        for keyword, said in (
            ("guard", UNGUARDED),
            ("death_signal", SIGKILL),
            ("tree", ELSEWHERE),
            ("grace", ELSEWHERE),
        )
    ],
    (orphanguard.Pool, "procesess", r"^Pool\(\) got .*: it takes processes, initializer, initargs, maxtasksperchild$"),
    (orphanguard.ProcessPoolExecutor, "workers", r"ProcessPoolExecutor"),
    (orphanguard.Popen, "daemon", r"^Popen.* got an unexpected keyword argument 'daemon'"),
]


@pytest.mark.parametrize(("call", "keyword", "said"), SAID)
def test_what_is_said(call, keyword: str, said: str) -> None:
    positional = (["true"],) if call is orphanguard.Popen else ()
    with pytest.raises(TypeError, match=said):
        call(*positional, **{keyword: 1})
    assert not multiprocessing.active_children()


def test_a_subclass_that_asks_for_it() -> None:
    with pytest.raises(TypeError, match=r"^Process\(\) got an unexpected keyword argument 'guard'"):
        Worker(5)


def test_the_parameters_are_still_to_be_seen() -> None:
    assert list(inspect.signature(orphanguard.Process).parameters) == [
        *("group", "target", "name", "args", "kwargs", "daemon", "tree", "grace")
    ]
    assert list(inspect.signature(pool.Pool).parameters)[-1] == "context"

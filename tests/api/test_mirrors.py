"""The submodules of ``orphanguard.multiprocessing``: what starts processes is guarded, the rest is the standard one."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor as StandardExecutor

import pytest

import orphanguard
from orphanguard.multiprocessing import context, managers, pool
from tests.support.witness import METHODS, python

pytestmark = pytest.mark.starts_fork_server

SAME = (
    *("connection", "dummy", "process", "queues", "reduction", "resource_tracker"),
    *("shared_memory", "sharedctypes", "synchronize", "util"),
)


@pytest.mark.parametrize("name", SAME)
def test_what_starts_no_process_is_the_standard_librarys(name: str) -> None:
    standard = importlib.import_module(f"multiprocessing.{name}")
    program = f"""
import orphanguard.multiprocessing.{name}
from orphanguard.multiprocessing import {name} as one
from orphanguard.multiprocessing.{name} import *
import multiprocessing.{name} as standard
assert orphanguard.multiprocessing.{name} is one is standard
import orphanguard.multiprocessing as again
assert again.{name} is standard and "{name}" in dir(again)
"""
    python(program, check=True)
    assert getattr(orphanguard.multiprocessing, name) is standard


@pytest.mark.parametrize(
    "statement", ["import {0}.{1}", "from {0} import {1}", "from {0}.{1} import *", "import {0} as o; o.{1}"]
)
@pytest.mark.parametrize("name", ["managers", "pool", "context"])
def test_every_form_of_import(name: str, statement: str) -> None:
    program = statement.format("orphanguard.multiprocessing", name)
    python(program, check=True)


@pytest.mark.parametrize("module", [managers, pool, context])
def test_every_public_name_is_here(module) -> None:
    standard = importlib.import_module(f"multiprocessing.{module.__name__.rpartition('.')[2]}")
    assert set(getattr(standard, "__all__", ())) <= set(module.__all__)
    for name in dir(module):
        ours, theirs = getattr(module, name), getattr(standard, name, None)
        if isinstance(ours, type) and name in module.__all__ and ours is not theirs:
            assert ours.__module__.startswith("orphanguard.")
            assert issubclass(ours, theirs)
            assert pickle.loads(pickle.dumps(ours)) is ours
    public = {name for name in dir(standard) if not name.startswith("_")}
    elsewhere = {
        "get_context",
        "get_spawning_popen",
        "wait",
    }  # names that it has from other modules itself
    assert public - set(dir(module)) == ({"DefaultContext"} if module is context else elsewhere & public)


def test_what_is_not_here() -> None:
    for module, name, use in (
        (orphanguard.multiprocessing, "popen_fork", "multiprocessing.popen_fork is the standard one"),
        (orphanguard.multiprocessing, "forkserver", "multiprocessing.forkserver is the standard one"),
        (context, "DefaultContext", r"use orphanguard.get_context\(\)"),
        (context, "_default_context", "multiprocessing.context._default_context is the standard one"),
        (managers, "nothing", "'orphanguard.multiprocessing.managers' has no attribute 'nothing'$"),
        (orphanguard.multiprocessing, "nothing", "'orphanguard.multiprocessing' has no attribute 'nothing'$"),
    ):
        with pytest.raises(AttributeError, match=use):
            getattr(module, name)
        assert not hasattr(module, name)


def test_they_are_what_the_functions_return() -> None:
    with orphanguard.Pool(1) as workers:
        assert type(workers) is pool.Pool
    workers.join()
    with orphanguard.Manager() as manager:
        assert type(manager) is managers.SyncManager
        assert isinstance(manager, managers.BaseManager)
    for method in METHODS:
        ours = orphanguard.get_context(method)
        assert type(ours) is getattr(context, type(ours).__name__)


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_context_that_is_given(method: str | None) -> None:
    """A standard context is replaced by the guarded context of the same start method."""
    given = multiprocessing.get_context(method)
    with managers.SyncManager(ctx=given) as manager:
        assert manager._process.guard.scope == "process"
        assert manager._process._start_method == given.get_start_method()
    with pool.Pool(1, context=given) as workers:
        assert workers._pool[0].guard.scope == "process"
    workers.join()


class Stranger:
    def get_context(self, *_: object) -> object:
        return multiprocessing.get_context("fork")


def test_a_context_that_would_only_look_guarded() -> None:
    for start in (lambda: managers.BaseManager(ctx=Stranger()), lambda: pool.Pool(1, context=Stranger())):
        with pytest.raises(TypeError, match=r"must be one of orphanguard.get_context\(\)"):
            start()


def test_registering_is_not_heard_of_elsewhere() -> None:
    class Mine(managers.SyncManager):
        pass

    Mine.register("getpid", os.getpid)
    assert not hasattr(managers.SyncManager, "getpid")
    assert not hasattr(managers._standard.SyncManager, "getpid")
    assert "getpid" not in managers._standard.BaseManager._registry
    assert managers.SyncManager._registry["Pool"][0] is pool.Pool
    assert managers._standard.SyncManager._registry["Pool"][0] is not pool.Pool
    with Mine() as manager:
        assert manager.getpid()._getvalue() == manager._process.pid


@pytest.mark.parametrize("name", ["pool.get_context", "managers.get_spawning_popen", "context.DefaultContext"])
def test_what_a_standard_module_has_from_another_one(name: str) -> None:
    """Such a name of our module would be unguarded."""
    module, _, name = name.partition(".")
    with pytest.raises(AttributeError, match=f"multiprocessing.{module}.{name} is the standard one"):
        getattr(importlib.import_module(f"orphanguard.multiprocessing.{module}"), name)


def test_a_module_in_a_module_is_the_guarded_one() -> None:
    assert managers.pool is pool
    assert managers.pool.Pool is pool.Pool


def test_executor_refuses_contexts_that_would_only_look_guarded() -> None:
    import multiprocessing

    class Mine(multiprocessing.context.ForkContext):
        pass

    with pytest.raises(TypeError, match=r"orphanguard\.get_context"):
        orphanguard.ProcessPoolExecutor(1, mp_context=Mine())
    executor = orphanguard.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    assert executor._mp_context is orphanguard.get_context("spawn")
    executor.shutdown()
    assert issubclass(orphanguard.ProcessPoolExecutor, StandardExecutor)

"""Workers of pools and executors, and managers' servers, die with the parent."""

from __future__ import annotations

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import METHODS, Token, parent

pytestmark = pytest.mark.starts_fork_server


@pytest.mark.parametrize("kind", ["Pool", "Manager().Pool", "ProcessPoolExecutor"])
@pytest.mark.parametrize("method", METHODS)
def test_their_workers_die_with_the_parent(method: str, kind: str) -> None:
    with parent("pools", method, kind, "guarded") as running:
        workers = running.watch(running.read()["children"])
        running.kill()
        assert workers.alive(within=DEATH) == []


@pytest.mark.parametrize("kind", ["Pool", "Manager().Pool", "ProcessPoolExecutor"])
def test_their_workers_die_with_the_parent_unguarded(kind: str) -> None:
    token = Token()
    with parent("pools", "fork", kind, "plain", env=token.environment) as running:
        try:
            workers = running.watch(running.read()["children"])
            running.kill()
            assert workers.alive(within=LIFE)
        finally:
            running.ended()
            token.clean_up()  # the manager's server is one of them


KINDS = ("BaseManager", "SyncManager", "SharedMemoryManager", "Pool", "SyncManager.Pool", "Context", "context.Process")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_they_die_with_the_parent(method: str, kind: str) -> None:
    with parent("managers", method, kind, "guarded") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_ones_survive(kind: str) -> None:
    token = Token()
    with parent("managers", "fork", kind, "plain", env=token.environment) as running:
        children = running.watch(pids := running.read()["children"])
        running.kill()
        running.ended()
        assert children.alive(within=LIFE) == sorted(pids)
    while token.holders():  # a pool without its parent starts another worker for each one that is killed
        token.clean_up()

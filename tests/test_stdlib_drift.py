"""Where we lean on private parts of multiprocessing: fails with a clear message when a new Python moves them."""

from __future__ import annotations

import inspect
import sys
from multiprocessing import forkserver, popen_fork, popen_spawn_posix, process, spawn, util

import pytest

from orphanguard.multiprocessing import _stdlib

HINT = f"CPython {sys.version.split()[0]} has moved a private seam: see src/orphanguard/multiprocessing/_stdlib.py"


@pytest.mark.parametrize("function", [seam[0] for seam in _stdlib.seams()], ids=lambda f: f.__qualname__)
def test_names_that_are_looked_up(function) -> None:
    names = dict(_stdlib.seams())[function]
    missing = set(names) - set(function.__code__.co_names)
    assert not missing, f"{function.__qualname__} no longer looks up {missing}. {HINT}"
    assert function.__closure__ is None, f"{function.__qualname__} has become a closure. {HINT}"


def calls(function, call: str) -> int:
    return sum(line.split("#")[0].count(call) for line in inspect.getsource(function).splitlines())


def test_a_fork_start_makes_two_pipes_and_forks_once() -> None:
    launch = popen_fork.Popen._launch
    assert calls(launch, "os.pipe()") == 2, HINT
    assert calls(launch, "os.fork()") == 1, HINT
    source = inspect.getsource(launch)
    assert source.index("child_r, parent_w = os.pipe()") > source.index("parent_r, child_w = os.pipe()"), HINT
    assert "parent_sentinel=child_r" in source, HINT
    assert calls(launch, "Finalize(") == 1, HINT


def test_the_spawn_start_sends_its_data_after_the_start() -> None:
    source = inspect.getsource(popen_spawn_posix.Popen._launch)
    assert source.index("get_preparation_data") < source.index("spawnv_passfds") < source.index("f.write("), HINT
    assert list(inspect.signature(util.spawnv_passfds).parameters) == ["path", "args", "passfds"], HINT


def test_the_preparation_data_is_unpickled_first_and_may_have_more_keys() -> None:
    main = inspect.getsource(spawn._main)
    assert main.index("load(from_parent)") < main.index("prepare("), HINT
    assert "for " not in inspect.getsource(spawn.prepare).split('"""')[-1], HINT


def test_the_fork_server() -> None:
    server = forkserver._forkserver
    for name in ("_forkserver_pid", "_preload_modules", "_forkserver_alive_fd"):
        assert hasattr(server, name), f"{name}: {HINT}"
    assert calls(forkserver.ForkServer.connect_to_new_process, "os.pipe()") == 2, HINT
    assert callable(forkserver.read_signed), HINT


def test_the_children_that_are_known() -> None:
    assert isinstance(process._children, set), HINT
    assert "_children.discard" in inspect.getsource(process.BaseProcess.join), HINT


def test_a_moved_seam_is_refused_and_not_ignored() -> None:
    """Never a child that is started past a seam that is no longer there."""
    with pytest.raises(RuntimeError, match="no longer looks up no_such_name"):
        _stdlib.replaced(process.BaseProcess.start, no_such_name=None)

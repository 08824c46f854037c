"""Private parts of multiprocessing and subprocess are still where we lean on them.

When a new Python moves one, the failure names the file of ours that leans on it.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from multiprocessing import forkserver, popen_fork, popen_spawn_posix, process, spawn, util

import pytest

from orphanguard import subprocess as ours
from orphanguard._core import gevent
from orphanguard._stdlib import multiprocessing as seam
from orphanguard._stdlib import subprocess as popen_seam

MOVED = f"CPython {sys.version.split()[0]} has moved a private seam: see src/orphanguard/"
HINT = f"{MOVED}_stdlib/multiprocessing.py"
POPEN = f"{MOVED}_stdlib/subprocess.py"


@pytest.mark.parametrize("function", [entry[0] for entry in seam.seams()], ids=lambda f: f.__qualname__)
def test_names_that_are_looked_up(function) -> None:
    names = dict(seam.seams())[function]
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
    """No child is started past a seam that is gone: the replacement raises."""
    with pytest.raises(RuntimeError, match="no longer looks up no_such_name"):
        seam.replaced(process.BaseProcess.start, no_such_name=None)


# --- subprocess -----------------------------------------------------------------------------------------------


def test_the_request_that_popen_makes() -> None:
    """Its arguments come by position, in the order of the parameters of Popen._spawn, and none is new."""
    wanted = list(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]
    known = ["args", "executable", "preexec_fn", *list(inspect.signature(popen_seam.Popen._spawn).parameters)[4:]]
    assert wanted == known[: len(wanted)], POPEN
    assert set(known) - set(wanted) <= {"process_group"}, POPEN
    assert ("process_group" in wanted) == (sys.version_info >= (3, 11)), POPEN

    class Popen(subprocess.Popen):
        def _execute_child(self, *args, **kwargs):
            assert kwargs == {}, POPEN
            assert len(args) == len(wanted), POPEN
            given = dict(zip(wanted, args, strict=True))
            assert (given["args"], given["cwd"], given["umask"]) == (["a program"], "/", 0o77), POPEN
            assert given["start_new_session"] is True, POPEN
            self.pipes = [fd for name, fd in given.items() if name in ENDS and fd != -1]
            seen.append(self)
            raise ZeroDivisionError

    ENDS = {"p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"}  # noqa: N806
    seen: list[Popen] = []
    with pytest.raises(ZeroDivisionError):
        Popen(["a program"], stdin=-1, stdout=-1, stderr=-1, cwd="/", umask=0o77, start_new_session=True)
    assert len(seen[0].pipes) == 6, POPEN  # conftest.py sees that they are closed


def test_how_popen_makes_its_pipes() -> None:
    handles = subprocess.Popen._get_handles
    assert list(inspect.signature(handles).parameters) == ["self", "stdin", "stdout", "stderr"], POPEN
    order = "(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)"
    assert f"return {order}" in " ".join(inspect.getsource(handles).split()), POPEN
    assert hasattr(subprocess.Popen, "_on_error_fd_closer") == (sys.version_info >= (3, 11, 4)), POPEN
    source = " ".join(inspect.getsource(subprocess.Popen.__init__).split())
    assert f"{order} = self._get_handles(stdin, stdout, stderr)" in source, POPEN


def test_what_popen_wants_to_find_after_a_start() -> None:
    source = inspect.getsource(subprocess.Popen._execute_child)
    assert "self.pid = " in source, POPEN
    assert source.index("self._child_created = True") < source.rindex("self._close_pipe_fds("), POPEN
    parameters = list(inspect.signature(subprocess.Popen._close_pipe_fds).parameters)
    assert parameters == ["self", "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"], POPEN
    assert subprocess.Popen._child_created is False, POPEN  # what __del__ finds after a start that has failed


#: Methods of Popen that wait for a program by its pid, or signal it so: those that we replace, and those that only the
#: replaced ones call.
BY_PID = {"_internal_poll", "_wait", "send_signal"}, {"_execute_child", "_try_wait", "_wait_pidfd"}


def test_who_uses_the_pid() -> None:
    methods = {name: method for name, method in vars(subprocess.Popen).items() if inspect.isfunction(method)}
    calls = {"waitpid", "waitid", "wait4", "kill", "killpg", "pidfd_open", "pidfd_send_signal"}
    found = {name for name, method in methods.items() if calls & set(method.__code__.co_names)}
    replaced, theirs = BY_PID
    assert found - replaced <= theirs, f"{found - replaced - theirs}: {POPEN}"
    assert replaced <= {*vars(ours.Popen), *vars(popen_seam.Popen)}, POPEN
    for name in theirs - {"_execute_child"}:
        users = {user for user, method in methods.items() if name in method.__code__.co_names}
        assert users <= replaced, f"{name} is called by {users}: {POPEN}"


@pytest.mark.parametrize(
    ("method", "seam"),
    [
        ("poll", "_internal_poll"),
        ("__del__", "_internal_poll"),
        ("wait", "_wait"),
        ("communicate", "_wait"),
        ("__exit__", "_wait"),
        ("kill", "send_signal"),
        ("terminate", "send_signal"),
    ],
)
def test_what_leads_to_our_methods(method, seam) -> None:
    assert seam in getattr(subprocess.Popen, method).__code__.co_names, f"{method}: {POPEN}"


def test_how_dropped_ones_are_polled() -> None:
    """A start polls them with _deadstate. __del__ polls in the same way, and keeps a program that still runs."""
    for function in (subprocess.Popen.__del__, subprocess._cleanup):
        assert "_internal_poll(_deadstate=" in inspect.getsource(function), POPEN
    assert "_active.append(self)" in inspect.getsource(subprocess.Popen.__del__), POPEN
    assert "_cleanup" in subprocess.Popen.__init__.__code__.co_names, POPEN
    assert isinstance(subprocess._active, list), POPEN


@pytest.mark.parametrize(
    ("helper", "name"),
    [
        ("run", "Popen"),
        ("call", "Popen"),
        ("check_call", "call"),
        ("check_output", "run"),
        ("getstatusoutput", "check_output"),
        ("getoutput", "getstatusoutput"),
    ],
)
def test_what_the_helpers_look_up(helper, name) -> None:
    function = getattr(subprocess, helper)
    assert name in function.__code__.co_names, f"{helper} no longer looks up {name}: {POPEN}"
    assert function.__closure__ is None, f"{helper} has become a closure: {POPEN}"


@pytest.mark.parametrize(("method", "names"), gevent.seams().items(), ids=gevent.seams())
def test_what_is_borrowed_where_gevent_has_patched(method, names) -> None:
    function = getattr(subprocess.Popen, method)
    missing = set(names) - set(function.__code__.co_names)
    assert not missing, f"Popen.{method} no longer looks up {missing}. {MOVED}_core/gevent.py"
    assert function.__closure__ is None, f"Popen.{method} has become a closure. {MOVED}_core/gevent.py"
    source = inspect.getsource(subprocess.Popen.__init__)
    assert source.count("io.open(") == 3, f"{MOVED}_core/gevent.py"


def test_every_public_name_is_there() -> None:
    assert set(subprocess.__all__) <= set(ours.__all__), POPEN
    public = {"Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"}
    functions = {name for name in subprocess.__all__ if inspect.isroutine(getattr(subprocess, name))}
    assert functions - public <= {"list2cmdline"}, f"{functions - public} may start programs, unguarded: {POPEN}"

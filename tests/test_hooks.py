"""`preexec_fn`, `PreexecFn` and `die_with_parent`: children that somebody else starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from test_never_early import in_a_thread_that_ends
from witness import ACTORS, DEATH, LIFE, METHODS, Token, Watched, parent

import orphanguard

SLEEP = ["sleep", "1000"]


@pytest.fixture
def popen():
    started = []

    def popen(*args, **kwargs) -> subprocess.Popen:
        process = subprocess.Popen(*args, **kwargs)
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                stream.close()


# --- in parents that are killed


@pytest.mark.parametrize("hook", ["preexec_fn", "PreexecFn()"])
@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("options", ["", "close_fds=False", "start_new_session=True", "user=65534, group=65534"])
def test_program_dies_with_the_parent(hook: str, thread: str, options: str, needs_root_for) -> None:
    if hook == "preexec_fn" and thread == "ended":
        pytest.skip("refused there: test_refused_in_another_thread")
    needs_root_for("user" in options, "only root can change its uid")
    with parent("hooked", thread, f"orphanguard.{hook}", options) as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


def test_program_survives_unguarded() -> None:
    with parent("hooked", "main", "None", "") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


@pytest.mark.parametrize("thread", ["main", "ended"])
def test_program_of_a_parent_that_drops_its_uid(thread: str, needs_root_for) -> None:
    needs_root_for(True, "only root can change its uid")
    with parent("hooked", thread, "orphanguard.PreexecFn()", "") as running:
        children = running.watch(running.read()["children"])
        assert running.ask("os.setresuid(65534, 65534, 65534); say(uid=os.getuid())") == {"uid": 65534}
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("hook", ["preexec_fn", "PreexecFn()"])
def test_asyncio(hook: str) -> None:
    with parent("hooked", "asyncio", f"orphanguard.{hook}", "") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


# --- refusals


def refused(hook, **options) -> tuple[str, subprocess.SubprocessError]:
    """What a Popen with it says on the stderr of this process, from a program that must not run."""
    program = [sys.executable, "-c", "print('it ran')"]
    with pytest.raises(subprocess.SubprocessError, match="preexec_fn") as caught:
        subprocess.run(program, preexec_fn=hook, check=False, **options)
    return "", caught.value


def test_refused_in_another_thread(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.preexec_fn))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err.startswith("orphanguard.preexec_fn: program not started: ")
    assert "orphanguard.PreexecFn()" in err
    assert err.count("\n") == 1


def test_the_refusal_arrives_when_stderr_is_redirected(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.preexec_fn, stderr=subprocess.DEVNULL))
    assert "orphanguard.PreexecFn()" in capfd.readouterr().err


class Derived(orphanguard.PreexecFn):
    def __init__(self) -> None:
        super().__init__()


def makes_it_too_late() -> None:
    orphanguard.PreexecFn()


MISUSED = [orphanguard.PreexecFn, Derived, makes_it_too_late]


@pytest.mark.parametrize("hook", MISUSED, ids=["class", "subclass", "function"])
@pytest.mark.parametrize("thread", ["main", "other"])
def test_without_its_parentheses(hook, thread: str, capfd) -> None:
    """It would be made in the child, guard nothing, and say nothing."""
    (in_a_thread_that_ends if thread == "other" else lambda call: call())(lambda: refused(hook))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err == (
        "orphanguard.PreexecFn: program not started: the parentheses are missing: "
        "preexec_fn=orphanguard.PreexecFn(), made in the parent.\n"
    )


@pytest.mark.parametrize("loaded", ["orphanguard", "orphanguard, orphanguard.hooks"])
def test_without_its_parentheses_in_asyncio(loaded: str) -> None:
    program = (
        f"import {loaded}, asyncio; asyncio.run(asyncio.create_subprocess_exec('echo', 'it ran', preexec_fn=HOOK))"
    )
    for hook in ("orphanguard.PreexecFn", "lambda: orphanguard.PreexecFn()"):
        command = [sys.executable, "-c", program.replace("HOOK", hook)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEATH, check=False)
        assert "it ran" not in done.stdout
        assert "the parentheses are missing" in done.stderr


def test_a_forked_child_makes_hooks_as_any_process() -> None:
    program = """
import os, orphanguard, subprocess
def child():
    if (pid := os.fork()) == 0:
        os._exit(subprocess.run(["true"], preexec_fn=orphanguard.PreexecFn()).returncode)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print([child() for _ in range(2)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEATH, check=True)
    assert done.stdout == "[0, 0]\n", done.stderr


@pytest.mark.parametrize("hook", ["orphanguard.die_with_parent", "lambda: orphanguard.die_with_parent()"])
def test_die_with_parent_as_a_preexec_fn(hook: str) -> None:
    """A lifeline of the child's own would be gone with the exec."""
    with parent("hooked", "main", hook, "") as running:
        children = running.watch(running.read()["children"])
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


def test_die_with_parent_as_a_preexec_fn_in_another_thread(capfd) -> None:
    in_a_thread_that_ends(lambda: refused(orphanguard.die_with_parent))
    out, err = capfd.readouterr()
    assert "it ran" not in out
    assert err.startswith("orphanguard.die_with_parent: program not started: ")


def test_a_hook_is_for_one_child(popen, capfd) -> None:
    hook = orphanguard.PreexecFn()
    popen(SLEEP, preexec_fn=hook)
    refused(hook)
    assert "already used for another child" in capfd.readouterr().err


def test_a_hook_is_for_children_of_the_process_that_made_it(capfd) -> None:
    hook = orphanguard.PreexecFn()
    pid = os.fork()
    if pid == 0:
        try:
            subprocess.run(["true"], preexec_fn=hook, check=False)
        except subprocess.SubprocessError:
            os._exit(5)
        os._exit(6)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert "made in process" in capfd.readouterr().err
    with pytest.raises(RuntimeError):
        hook()
    assert "made in process" in capfd.readouterr().err


def test_a_hook_that_is_dropped_before_its_child_claims_it(capfd) -> None:
    """Forked, but not so far yet: nobody holds its lifeline any more. It must not run on it, nor unguarded."""
    hook = orphanguard.PreexecFn()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_read, 1)
        try:
            hook()
        except RuntimeError:
            os._exit(5)
        os._exit(6)
    del hook
    os.write(go_write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert "given up" in capfd.readouterr().err
    os.close(go_read)
    os.close(go_write)


def test_a_failed_exec_is_reported_as_ever() -> None:
    for hook in (orphanguard.preexec_fn, orphanguard.PreexecFn()):
        with pytest.raises(FileNotFoundError):
            subprocess.Popen(["/nonexistent"], preexec_fn=hook)  # noqa: PLW1509


def test_lifelines_of_hooks_are_given_back(popen) -> None:
    def fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = fds()
    for _ in range(10):
        popen(SLEEP, preexec_fn=orphanguard.PreexecFn()).kill()
        subprocess.run(["true"], preexec_fn=orphanguard.PreexecFn(), check=True)
        orphanguard.PreexecFn()
    assert fds() - before <= 12
    survivor = popen(SLEEP, preexec_fn=orphanguard.PreexecFn())
    orphanguard.PreexecFn()
    watched = Watched([survivor.pid])
    assert watched.alive(within=LIFE) == [survivor.pid]
    watched.close()


# --- die_with_parent


@pytest.mark.parametrize("thread", ["main", "ended"])
@pytest.mark.parametrize("kind", ["fork", "executor", "pool"])
def test_die_with_parent_in_forked_children(kind: str, thread: str) -> None:
    """Plain multiprocessing, forked: on the lifeline, so the starting thread may end."""
    with parent("dying", kind, thread, "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert set(answer["layers"]) == {"lifeline", *(["pdeathsig"] if thread == "main" else [])}
        assert answer["scope"] == "process"
        assert len(children.alive(within=LIFE)) == 2
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("kind", ["spawn", "script"])
def test_die_with_parent_after_an_exec(kind: str, capfd) -> None:
    """/proc tells which thread has started it: the main one, whose end is the parent's."""
    with parent("dying", kind, "main", "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert answer["layers"] == ["pdeathsig"]
        assert answer["scope"] == "process"
        running.kill()
        assert children.alive(within=DEATH) == []
    assert "RuntimeWarning" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["spawn", "script"])
def test_a_guard_that_follows_a_thread_says_so(kind: str, capfd) -> None:
    """Whoever ignores what die_with_parent() returns, as initializer= does, is warned."""
    with parent("dying", kind, "running", "orphanguard.die_with_parent") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert (answer["layers"], answer["scope"]) == (["pdeathsig"], "thread")
        running.kill()
        assert children.alive(within=DEATH) == []
    assert "RuntimeWarning: die_with_parent(): this process was started by a thread" in capfd.readouterr().err


def test_importing_orphanguard_is_use_enough() -> None:
    """A later fork's child arms itself by a lifeline, which a change of uid does not undo."""
    program = """
import os, orphanguard, signal
if os.fork() == 0:
    print(os.getpid(), *orphanguard.die_with_parent().layers, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as running:
        pid, *layers = running.stdout.readline().split()
        assert layers == ["lifeline", "pdeathsig"]
        watched = Watched([int(pid)])
        running.kill()
        assert watched.alive(within=DEATH) == []
        watched.close()


@pytest.mark.parametrize("kind", ["script", "fork"])
def test_die_with_parent_in_another_thread_of_the_child(kind: str) -> None:
    """PDEATHSIG belongs to the task that armed it, and is gone with it: alone it would be a false claim there."""
    with parent("dying", kind, "main", "lambda: in_a_thread(orphanguard.die_with_parent)") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        if kind == "script":
            assert answer["raised"].startswith("GuardUnavailable: ")
            assert "main thread" in answer["raised"]
            assert answer["layers"] == []
            return
        assert answer["returned"] == answer["layers"] == ["lifeline"]
        running.kill()
        assert children.alive(within=DEATH) == []


def test_pdeathsig_of_another_thread_ends_with_it() -> None:
    """The fact behind it. Nor is it reported: not by its thread, and not for it by the main thread."""
    with parent("dying", "script", "main", "lambda: in_a_thread(arm_pdeathsig)") as running:
        answer = running.read()
        children = running.watch(answer["children"])
        assert answer["seen"] == {"pdeathsig": 9, "layers": []}
        assert answer["layers"] == []
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


def test_another_thread_does_not_report_what_it_cannot_read() -> None:
    with parent("dying", "script", "main", "lambda: (arm_pdeathsig(), in_a_thread(look))") as running:
        answer = running.read()
        running.watch(answer["children"])
        assert answer["layers"] == ["pdeathsig"]
        assert answer["seen"] == {"pdeathsig": 0, "layers": []}


@pytest.mark.parametrize("kind", ["fork", "spawn", "script"])
def test_without_die_with_parent(kind: str) -> None:
    with parent("dying", kind, "main", "nothing") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 2


def test_die_with_parent_refuses_under_a_fork_server() -> None:
    with parent("dying", "forkserver", "main", "orphanguard.die_with_parent") as running:
        answer = running.read()
        running.watch(answer["children"])
        assert answer["error"].startswith("GuardUnavailable")
        assert "forkserver" in answer["error"]


@pytest.mark.parametrize("method", METHODS)
def test_die_with_parent_in_a_guarded_child_keeps_its_guard(method: str) -> None:
    context = orphanguard.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=report_guards, args=(queue,))
    process.start()
    before, after = queue.get()
    assert before == after == process.guard
    process.join()
    queue.close()


test_die_with_parent_in_a_guarded_child_keeps_its_guard = pytest.mark.starts_fork_server(
    test_die_with_parent_in_a_guarded_child_keeps_its_guard
)


def report_guards(queue) -> None:
    import multiprocessing

    queue.put((multiprocessing.current_process().guard, orphanguard.die_with_parent(signal.SIGTERM)))


@pytest.mark.parametrize("call", ["die_with_parent(parent_pid={gone})", "die_with_parent(15, {gone})"])
def test_the_parent_was_gone_before(call: str) -> None:
    """The shell that starts it in the background ends first; the pid that it had tells."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    program = f"import orphanguard, signal; orphanguard.{call.format(gone=gone.pid)}; signal.pause()"
    result = subprocess.run([sys.executable, "-c", program], timeout=DEATH, check=False)
    assert result.returncode == (-15 if "15" in call else -9)


def said_of(pid: int, *wrapper: str) -> str:
    program = f"import orphanguard; orphanguard.die_with_parent(parent_pid={pid})"
    command = [*wrapper, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEATH, check=False).stderr.splitlines()[-1]


def test_a_process_further_above_is_not_the_parent() -> None:
    """Behind a wrapper, say. No fork server has to do with it."""
    said = said_of(os.getpid(), "timeout", "1000")
    assert f"GuardUnavailable: [Errno 22] process {os.getpid()} (" in said
    assert "(timeout): it is further above" in said
    assert f"orphanguard run --parent-pid={os.getpid()}" in said


def test_another_process_is_not_the_parent() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        said = said_of(stranger.pid)
    assert f"process {stranger.pid} (cat) is not the parent of this one, which is {os.getpid()} (" in said
    assert said.endswith("), nor above it")


def test_other_signals() -> None:
    with parent("dying", "fork", "main", "lambda: orphanguard.die_with_parent(signal.SIGUSR1)") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("sig", [0, -1, 999, 65])
def test_signals_that_do_not_exist(sig: int) -> None:
    with pytest.raises(ValueError, match="no such signal"):
        orphanguard.die_with_parent(sig)


def test_preexec_fn_outside_a_fork(capfd) -> None:
    program = "import orphanguard; orphanguard.preexec_fn()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "Use die_with_parent()" in result.stderr
    assert result.returncode == 1
    assert threading.active_count() == 1


def test_die_with_parent_in_a_child_of_a_child() -> None:
    """A child of multiprocessing that forks by os.fork(): its parent is that one, not multiprocessing's."""
    program = """
import os, orphanguard, multiprocessing
def child():
    if (pid := os.fork()) == 0:
        guard = orphanguard.die_with_parent()
        os._exit(0 if guard.layers[0] == "lifeline" and guard.scope == "process" else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
orphanguard.die_with_parent
for Process in (multiprocessing.get_context("fork").Process, orphanguard.get_context("fork").Process):
    process = Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "0\n0\n", result.stderr


# --- die_with_parent where it could be taken for something else


def said_by(program: str) -> list[str]:
    """What a program prints that is killed when it has said "end"; whoever it has left is killed as well."""
    token = Token()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=token.environment
    ) as running:
        lines = []
        for line in running.stdout:
            if line == "end\n":
                break
            lines.append(line.strip())
        running.kill()
        survivors = token.survivors(within=DEATH)
        token.clean_up()
    assert survivors == []
    return lines


START = """
import os, signal, sys, threading, time, orphanguard
def say(*what): os.write(1, (" ".join(map(str, what)) + "\\n").encode())
def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"): time.sleep(0.001)
"""


@pytest.mark.parametrize("thread", ["main", "other"])
def test_as_an_at_fork_hook(thread: str) -> None:
    """The call that forks has not returned there, and executes nothing either."""
    program = f"""{START}
os.register_at_fork(after_in_child=orphanguard.die_with_parent)
def start():
    if os.fork() == 0:
        say(*orphanguard.die_with_parent().layers)
        say("end")
        signal.pause()
{"start()" if thread == "main" else "in_a_thread(start)"}
signal.pause()
"""
    assert said_by(program) == ["lifeline" + (" pdeathsig" if thread == "main" else "")]


def test_beside_a_function_that_forks() -> None:
    """Two frames of the same shape, one after the other in the same place."""
    program = f"""{START}
def start(): return os.fork()
def child(): return orphanguard.die_with_parent()
def both():
    if start() == 0:
        say(*child().layers)
        orphanguard.PreexecFn()
        say("end")
        signal.pause()
in_a_thread(both)
signal.pause()
"""
    assert said_by(program) == ["lifeline"]


def test_a_number_that_is_a_childs_by_now() -> None:
    """A guarded child closes its fds; its own child's lifeline gets the number. That stays the child's."""
    program = f"""{START}
def child():
    out = os.dup(1)
    os.closerange(3, out), os.closerange(out + 1, 2000)
    program = []
    in_a_thread(lambda: program.append(orphanguard.Popen(["sleep", "1000"])))
    guard = orphanguard.die_with_parent()
    say(*guard.layers)
    say("end")
    os.kill(os.getpid(), signal.SIGKILL)
process = orphanguard.get_context("fork").Process(target=child)
in_a_thread(process.start)
process.join()
signal.pause()
"""
    assert said_by(program) == ["lifeline"]


def test_twice_in_a_child_of_another_thread() -> None:
    """What its parent has armed besides is its parent's: PDEATHSIG would be an early death here."""
    program = f"""{START}
def grandchild():
    if os.fork() == 0:
        orphanguard.die_with_parent()
        say(*orphanguard.die_with_parent().layers)
        while True: signal.pause()
def child():
    in_a_thread(grandchild)
    time.sleep({LIFE})
    say(os.waitpid(-1, os.WNOHANG)[0])
    say("end")
    signal.pause()
orphanguard.get_context("fork").Process(target=child).start()
signal.pause()
"""
    assert said_by(program) == ["lifeline", "0"]


@pytest.mark.parametrize(("refused", "armed"), [("", "lifeline"), ("sendmsg", "pdeathsig")], ids=["", "off the tether"])
def test_again_after_it_has_closed_its_fds(refused: str, armed: str) -> None:
    """The tether holds its description; without that it is lost."""
    program = f"""{START}
import warnings
sys.path.insert(0, {str(ACTORS)!r})
import filtered
warnings.simplefilter("ignore")
def start():
    if os.fork() == 0:
        if {refused!r}: filtered.refuse({refused!r}, 1)
        guard = orphanguard.die_with_parent()
        say("the child closes all its fds" in guard.defeated_by, *guard.layers)
        os.closerange(3, 2000)
        say(*orphanguard.die_with_parent().layers)
        say("end")
        signal.pause()
threading.Thread(target=lambda: (start(), signal.pause()), daemon=True).start()
signal.pause()
"""
    assert said_by(program) == [f"{bool(refused)} lifeline", armed]


def test_the_parent_is_a_zombie() -> None:
    gone = subprocess.Popen(["true"])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    program = f"import orphanguard, signal; orphanguard.die_with_parent(parent_pid={gone.pid}); signal.pause()"
    result = subprocess.run([sys.executable, "-c", program], timeout=DEATH, check=False)
    gone.wait()
    assert result.returncode == -9


def test_with_no_frame_below() -> None:
    program = f"""{START}
import _thread
if os.fork() == 0:
    _thread.start_new_thread(orphanguard.die_with_parent, ())
    from orphanguard._guard import current_guard
    while current_guard() is None: time.sleep(0.001)
    say(*current_guard().layers)
    say("end")
signal.pause()
"""
    assert said_by(program) == ["lifeline"]

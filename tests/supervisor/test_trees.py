"""Whole trees of real programs under `orphanguard-run`: who is killed, and who is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernel import as_root
from tests.support.proc import DEATH, LIFE, wait_for
from tests.support.trees import NOBODY, RUN, TREES, grown, no_pidns, public_run
from tests.support.witness import Token, Watched

USERS = pytest.mark.parametrize("user", [False, pytest.param(True, marks=as_root)], ids=["self", "nobody"])


@USERS
@pytest.mark.parametrize("name", TREES)
def test_the_parent_is_killed(name: str, user: bool) -> None:
    with grown(name, user=user) as tree:
        tree.kill("parent")
        assert tree.left(within=DEATH) == []


@pytest.mark.parametrize("name", TREES)
def test_without_it_they_survive(name: str) -> None:
    with grown(name, guarded=False) as tree:
        tree.kill("parent")
        assert len(tree.left(within=LIFE)) >= min(TREES[name].size, 3)


@pytest.mark.parametrize("name", sorted(set(TREES) - {"wide", "deep"}))
def test_the_command_is_killed(name: str) -> None:
    with grown(name) as tree:
        tree.kill("command")
        assert tree.left(within=DEATH) == []
        assert tree.event("ended") == {"event": "ended", "signal": 9}


@USERS
@pytest.mark.parametrize("name", ["double fork, setsid", "make -j8", "hydra", "wide"])
@pytest.mark.parametrize("victims", ["parent", "supervisor", "supervisor parent", "command"])
def test_in_a_pid_namespace(name: str, victims: str, user: bool) -> None:
    """The kernel kills all processes of the namespace when its init dies, whichever process is killed first."""
    if why := no_pidns(user or os.geteuid() != 0):
        pytest.skip(why)
    with grown(name, "--tree=pidns", user=user) as tree:
        assert tree.started["containment"] == "pidns"
        tree.kill(*victims.split())
        assert tree.left(within=DEATH) == []


@USERS
@pytest.mark.parametrize("victims", ["supervisor", "supervisor parent"])
def test_the_supervisor_is_killed(victims: str, user: bool) -> None:
    """What `subreaper` can't do: the command dies by its own guard, and what the command has started survives."""
    with grown("double fork, setsid", user=user) as tree:
        command = Watched([tree.command])
        tree.kill(*victims.split())
        assert command.alive(within=DEATH) == []
        command.close(kill=False)
        assert len(tree.left(within=LIFE)) >= 2


def test_nobody_else_dies() -> None:
    """A process in the same session and process group, and of the same user, lives on."""
    with grown("double fork, setsid") as tree:
        same_group = subprocess.Popen(["sleep", "1000"])
        watched = Watched([same_group.pid])
        assert os.getpgid(same_group.pid) == os.getpgid(tree.command) == os.getpgid(tree.supervisor)
        assert os.getsid(same_group.pid) == os.getsid(tree.command)
        tree.kill("parent")
        assert tree.left(within=DEATH) == []
        assert watched.alive(within=LIFE) == [same_group.pid]
        watched.close()
        same_group.wait()


def test_none_dies_while_the_parent_lives() -> None:
    with grown("double fork, setsid") as tree:
        watched = Watched(set(tree.token.holders()) - {tree.parent.pid})
        assert len(watched.alive(within=LIFE)) == 5
        watched.close(kill=False)


# --- cgroups, and who can't be killed


@pytest.fixture
def own_cgroup() -> Path:
    """The directory of this process's cgroup v2, if the process may make another cgroup in it."""
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    mounts = [
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line
    ]
    if not own or not mounts:
        pytest.skip("no cgroup v2 is mounted here")
    directory = Path(mounts[0], own[0].strip("/"))
    if not os.access(directory, os.W_OK):
        pytest.skip(f"{directory} is not delegated to us")
    return directory


@pytest.fixture
def delegated(own_cgroup: Path) -> Iterator[Path]:
    """A cgroup that belongs to nobody."""
    directory = own_cgroup / f"orphanguard-test-{os.getpid()}"
    directory.mkdir()
    for path in (directory, directory / "cgroup.procs"):
        os.chown(path, 65534, 65534)
    yield directory
    directory.rmdir()


@pytest.fixture
def becoming_root() -> Iterator[str]:
    """A setuid program with which everybody can become root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy("/usr/bin/setpriv", directory)
        os.chmod(program, 0o4755)
        yield f"{program} --reuid=0"


@pytest.mark.parametrize("victims", ["parent", "command"])
def test_a_cgroup(victims: str, own_cgroup: Path) -> None:
    with grown("double fork, setsid", "--tree=cgroup") as tree:
        directory = own_cgroup / f"orphanguard-{tree.supervisor}"
        assert str(tree.command) in (directory / "cgroup.procs").read_text().split()
        tree.kill(victims)
        assert tree.left(within=DEATH) == []
        wait_for(lambda: not directory.exists())


@as_root
def test_a_delegated_cgroup_kills_who_became_root(delegated: Path, becoming_root: str) -> None:
    script = f"{becoming_root} sleep 1000 & exit 3"
    token = Token()
    enter = f"echo $$ >{delegated}/cgroup.procs; exec setpriv --reuid=65534 --regid=65534 --clear-groups"
    command = ["sh", "-c", f'{enter} "$@"', "sh", public_run(), "--tree=cgroup", "sh", "-c", script]
    assert subprocess.run(command, env=token.environment, timeout=DEATH, check=False).returncode == 3
    assert token.holders() == []


@as_root
def test_what_outlives_sigkill_is_named(becoming_root: str, tmp_path: Path) -> None:
    token = Token()
    status, write = os.pipe()
    with (tmp_path / "stderr").open("w+") as stderr:
        done = subprocess.run(
            [public_run(), f"--status-fd={write}", "sh", "-c", f"{becoming_root} sleep 1000 & sleep 0.2; exit 3"],
            env=token.environment,
            stderr=stderr,
            pass_fds=[write],
            check=False,
            **NOBODY,
        )
        os.close(write)
        stderr.seek(0)
        said = stderr.read()
    with open(status) as lines:
        events = {event.pop("event"): event for event in map(json.loads, lines)}
    (survivor,) = token.holders()
    token.clean_up()
    assert done.returncode == 125
    assert said == f"orphanguard-run: process {survivor} (sleep) outlived SIGKILL: it is not ours to kill\n"
    assert events["survivors"] == {"count": 1, "pids": [survivor]}
    assert events["command"] == {"exit": 3}
    assert events["ended"] == {"exit": 125}


@as_root
def test_an_unprivileged_user_has_no_cgroup_unless_delegated(own_cgroup: Path) -> None:
    done = subprocess.run(
        [public_run(), "--tree=cgroup", "echo", "it ran"], capture_output=True, text=True, check=False, **NOBODY
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("orphanguard-run: --tree=cgroup: our cgroup is not delegated to us: mkdir(")
    assert done.stderr.count("\n") == 1


def test_a_cgroup_that_somebody_else_has_made_stays(own_cgroup: Path) -> None:
    """It can have the name that the supervisor chooses: the same pid in another pid namespace."""
    script = 'mkdir -p "$0/orphanguard-$$/inner"; echo $$; exec "$@"'
    command = ["sh", "-c", script, str(own_cgroup), RUN, "--tree=cgroup", "echo", "it ran"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    theirs = own_cgroup / f"orphanguard-{done.stdout.split()[0]}"
    there = (theirs / "inner").exists()
    for path in (theirs / "inner", theirs):
        if path.exists():
            path.rmdir()
    assert "it ran" not in done.stdout
    assert "mkdir(" in done.stderr
    assert there

"""`orphanguard doctor`: what it says is what happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from orphanguard._core.guard import FLAT
from tests.support.kernel import as_root
from tests.support.proc import DEATH
from tests.support.trees import RUN, public_run
from tests.support.witness import ACTOR

FILTERED = f"""{ACTOR}
import errno
from filtered import refuse
refuse(sys.argv[1], getattr(errno, sys.argv[2]))
"""
DOCTOR = "from orphanguard.doctor import main; sys.exit(main(sys.argv[3:]))"


def examine(program: str = f"import sys; {DOCTOR}", *arguments: str, **options) -> tuple[int, dict[str, dict]]:
    command = [sys.executable, "-c", program, *(arguments or ("", "")), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=DEATH, check=False, **options)
    answer = json.loads(done.stdout)
    assert answer["guarded"] == (done.returncode == 0)
    return done.returncode, {finding["name"]: finding for finding in answer["findings"]}


def test_here() -> None:
    status, found = examine()
    assert status == 0
    assert found["lifeline"]["ok"] is True
    assert found["tether"]["ok"] is True
    assert found["tree=subreaper"]["ok"] is True
    assert os.uname().release in found["kernel"]["why"]


@as_root
def test_as_another_user() -> None:
    become = "doctor.RUN = sys.argv[1]; become()"
    start = f"{ACTOR}from orphanguard import doctor; {DOCTOR.replace('; ', f'; {become}; ')}"
    _, found = examine(start, public_run(), "")
    assert found["tree=subreaper"]["ok"] is True
    assert found["tree=cgroup"]["ok"] is False
    assert "--tree=cgroup: " in found["tree=cgroup"]["why"]
    assert "65534" in found["user"]["why"]


@pytest.mark.parametrize(
    ("call", "error", "refused"),
    [
        ("fcntl", "EPERM", {"lifeline": "fcntl(F_SETSIG)", "tree=subreaper": "lifeline"}),
        ("prctl", "EPERM", {"pdeathsig": "PR_SET_PDEATHSIG", "tree=subreaper": "PR_SET_PDEATHSIG"}),
        ("pidfd_open", "ENOSYS", {"pidfd": "pidfd_open", "tree=subreaper": "pidfd_open: Function not implemented"}),
    ],
)
def test_what_is_refused_is_named(call: str, error: str, refused: dict[str, str]) -> None:
    status, found = examine(FILTERED + DOCTOR, call, error)
    assert status == 1
    for name, why in refused.items():
        assert found[name]["ok"] is False
        assert why in found[name]["why"]


@pytest.mark.parametrize("call", ["socketpair", "sendmsg", "recvmsg", "setsockopt"])
def test_a_tether_is_not_needed(call: str) -> None:
    """Where the kernel refuses a tether, children are flat: guarded, but less well."""
    status, found = examine(FILTERED + DOCTOR, call, "EPERM")
    assert status == 0
    assert found["lifeline"]["ok"] is True
    assert found["tether"]["ok"] is False
    assert found["tether"]["why"] == f"Operation not permitted: {FLAT}"


def test_plain() -> None:
    done = subprocess.run([sys.executable, "-m", "orphanguard", "doctor"], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("Children can be guarded here.\n")
    assert max(map(len, done.stdout.splitlines())) < 1000
    bad = subprocess.run(
        [sys.executable, "-m", "orphanguard", "doctor", "-x"], capture_output=True, text=True, check=False
    )
    assert (bad.returncode, bad.stdout) == (125, "")
    assert bad.stderr == "orphanguard doctor: no such argument: '-x'; see --help\n"


def test_fds_are_closed_without_close_range() -> None:
    """A seccomp filter refuses close_range to the supervisor. The end of the command's output arrives all the same."""
    program = FILTERED + "os.execv(sys.argv[3], sys.argv[3:])"
    command = [
        sys.executable,
        "-c",
        program,
        "close_range",
        "EPERM",
        RUN,
        "sh",
        "-c",
        "echo up; exec sleep 1000 >&- 2>&-",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"up\n"
        process.terminate()
        assert process.wait(timeout=DEATH) == -15

"""Programs that PyInstaller makes, as one folder and as one file, with no option for our sake.

They are built once for all pytest workers.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.proc import DEATH, LIFE
from tests.support.witness import ACTORS, Parent

pytest.importorskip("PyInstaller")
pytestmark = pytest.mark.timeout(400)  # the build takes long

SPEC = f"""
analysis = Analysis([{str(ACTORS / "frozen.py")!r}])
archive = PYZ(analysis.pure)
EXE(archive, analysis.scripts, analysis.binaries, analysis.datas, name="one-file")
folder = EXE(archive, analysis.scripts, exclude_binaries=True, name="one-folder")
COLLECT(folder, analysis.binaries, analysis.datas, name="folder")
"""
ONE_FILE, ONE_FOLDER = "one-file", "folder/one-folder"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shared = tmp_path_factory.getbasetemp().parent / f"frozen-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "dist" / ONE_FOLDER).exists():
            (shared / "frozen.spec").write_text(SPEC)
            run = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "-y", "frozen.spec"]
            environment = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(shared)}
            subprocess.run(run, cwd=shared, env=environment, check=True, stdin=subprocess.DEVNULL)
    return shared / "dist"


class Frozen:
    """A frozen program that runs. `program` is the process of its Python; `parent` is what has started that process."""

    def __init__(self, programs: Path, kind: str, *arguments: str) -> None:
        # Where a one-file program leaves its files when what has started it is killed.
        environment = {**os.environ, "TMPDIR": str(programs)}
        self.parent = Parent(*arguments, python=str(programs / kind), env=environment)
        try:
            told = self.parent.read()
            self.program = self.parent.watch([told["self"]])
            self.children = self.parent.watch(told["children"])
            self.count = len(told["children"])
            self.two = told["self"] != self.parent.process.pid
        except BaseException:
            self.parent.close()
            raise

    def __enter__(self) -> Frozen:
        return self

    def __exit__(self, *_: object) -> None:
        self.parent.close()


@pytest.mark.parametrize("kind", [ONE_FOLDER, ONE_FILE])
def test_children_die_with_the_program_and_not_before(programs: Path, kind: str) -> None:
    with Frozen(programs, kind, "guarded") as frozen:
        assert frozen.two == (kind == ONE_FILE)
        assert len(frozen.children.alive(within=LIFE)) == frozen.count > 10
        frozen.program.kill()
        assert frozen.children.alive(within=DEATH) == []


@pytest.mark.parametrize("kind", [ONE_FOLDER, ONE_FILE])
def test_children_survive_unguarded(programs: Path, kind: str) -> None:
    with Frozen(programs, kind, "plain") as frozen:
        frozen.program.kill()
        assert len(frozen.children.alive(within=LIFE)) == frozen.count


def test_what_has_started_a_one_file_program_is_killed(programs: Path) -> None:
    """The first process of a one-file program only unpacks, waits and cleans up. The program lives on without it."""
    with Frozen(programs, ONE_FILE, "guarded") as frozen:
        frozen.parent.kill(signal.SIGKILL)
        assert frozen.parent.ended() == -signal.SIGKILL
        assert len(frozen.program.alive(within=LIFE)) == 1
        assert len(frozen.children.alive(within=LIFE)) == frozen.count
        frozen.program.kill()
        assert frozen.children.alive(within=DEATH) == []


def test_a_one_file_program_that_dies_with_what_has_started_it(programs: Path) -> None:
    with Frozen(programs, ONE_FILE, "guarded", "die") as frozen:
        frozen.parent.kill(signal.SIGKILL)
        assert frozen.program.alive(within=DEATH) == []
        assert frozen.children.alive(within=DEATH) == []

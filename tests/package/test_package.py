"""The package: what importing it costs, what it exports, what it is built of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard
from tests.support.witness import ROOT, python


def modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(python(program, check=True).stdout.split())


def test_import_is_light() -> None:
    loaded = modules_after("import orphanguard")
    assert not loaded & {"multiprocessing", "subprocess", "asyncio", "concurrent", "typing"}


def test_hooks_need_no_multiprocessing() -> None:
    loaded = modules_after("import orphanguard; orphanguard.die_with_parent, orphanguard.PreexecFn, orphanguard.wait")
    assert not {name for name in loaded if name.startswith("multiprocessing")}


def test_every_name_is_there() -> None:
    for name in orphanguard.__all__:
        assert getattr(orphanguard, name) is not None
    assert set(orphanguard.__all__) <= set(dir(orphanguard))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = orphanguard.nonsense


def test_elsewhere_than_on_linux() -> None:
    program = "import sys; sys.platform = 'darwin'; import orphanguard"
    result = python(program)
    assert result.stderr.strip().splitlines()[-1].startswith("ImportError: orphanguard needs Linux")


def test_the_shim_exports_nothing_but_itself() -> None:
    """Hidden visibility: no symbol of another library can clash with ours, or replace one."""
    from orphanguard._core import _shim

    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", _shim.__file__], capture_output=True, text=True, check=False
    )
    if symbols.returncode:
        pytest.skip("nm is not installed")
    assert [line.split()[-1] for line in symbols.stdout.splitlines() if " T " in line] == ["PyInit__shim"]


BUILD = "import runpy, sys; sys.argv[0] = 'setup.py'; runpy.run_path('setup.py', run_name='__main__')"
NO_HEADERS = "import sysconfig; sysconfig.get_path = lambda *_, **__: '/nonexistent'; "


@pytest.mark.parametrize(
    ("program", "compiler", "missing"),
    [
        (BUILD, "/nonexistent/cc -O2", "no C compiler (/nonexistent/cc)"),
        (BUILD, "cc -nostdinc", "no headers of the C library (stdlib.h)"),
        (NO_HEADERS + BUILD, "cc", "no headers of Python (Python.h)"),
        (BUILD, "cc", ""),
    ],
    ids=["no compiler", "no libc6-dev", "no python3-dev", "all is there"],
)
def test_one_line_says_what_a_build_lacks(program: str, compiler: str, missing: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", program, "--quiet", "dist_info", f"--output-dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "CC": compiler}, stderr=-1, text=True, check=False)
    how = "; on Debian or Ubuntu: apt-get install gcc libc6-dev python3-dev"
    if missing:
        assert done.stderr == f"orphanguard: {missing}{how}\n"
    assert bool(done.returncode) == bool(missing) == (os.listdir(tmp_path) == [])

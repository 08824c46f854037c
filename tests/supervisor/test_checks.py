"""The supervisor with sanitizers and under valgrind."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.witness import ROOT

TOOL = ROOT / "tools" / "check-supervisor.sh"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["asan", "valgrind"])
def test_clean(kind: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    done = subprocess.run([TOOL, kind], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.stdout == f"{kind}: clean\n"

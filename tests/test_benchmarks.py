"""The runner of the benchmark matrix: it finds orphans where there are some, none where there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def cells(tmp_path: Path, strategy: str, *rows: str) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "benchmarks.matrix", "--trials", "2", "--results", str(tmp_path)]
    subprocess.run([*command, "--only", strategy, "--rows", *rows], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, dict[str, int]] = json.loads((tmp_path / f"{strategy}.json").read_text())["cells"]
    return found


@pytest.mark.parametrize("strategy", ["multiprocessing_fork", "subprocess_popen"])
def test_nothing_leaves_orphans(tmp_path: Path, strategy: str) -> None:
    for row, cell in cells(tmp_path, strategy, "kill", "setsid", "starting").items():
        assert (cell["trials"], cell["survivors"]) == (2, cell["started"]), row


@pytest.mark.parametrize("strategy", ["our_fork", "our_popen"])
def test_ours_leaves_none(tmp_path: Path, strategy: str) -> None:
    for row, cell in cells(tmp_path, strategy, "kill", "starting", "early-thread").items():
        assert (cell["trials"], cell["survivors"], cell["early"]) == (2, 0, 0), row


def test_early_deaths_are_seen(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, "pdeathsig_target", "early-thread").values()
    assert (cell["started"], cell["early"]) == (2, 2)


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    first = cells(tmp_path, "our_fork", "kill")
    assert cells(tmp_path, "our_fork", "kill") == first

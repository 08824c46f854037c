"""The runner of the benchmark matrix: it finds orphans where there are some, none where there are none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.render import cost_tables, files, matrix_tables
from tests.support.witness import ROOT, python


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
    more = cells(tmp_path, "our_fork", "_exit", "--again")
    assert more["kill"] == first["kill"]
    assert more["_exit"] != cells(tmp_path, "our_fork", "_exit", "--again")["_exit"]


def test_the_fork_server_is_found() -> None:
    program = """
from benchmarks.common.processes import adopt_orphans, children_of
from benchmarks.matrix.faults import fork_server
from benchmarks.matrix.trial import Trial

adopt_orphans()
with Trial("multiprocessing_forkserver", "siblings") as trial:
    trial.ready()
    assert sorted(children_of(fork_server(trial).pid)) == sorted(member.pid for member in trial.members)
"""
    python(program, cwd=ROOT, check=True)


def test_costs(tmp_path: Path) -> None:
    limits = ["--rounds", "2", "--idle", "0.1", "--most", "10", "--sizes", "0"]
    command = [sys.executable, "-m", "benchmarks.costs", *limits]
    subprocess.run([*command, "--results", str(tmp_path), "--only", "ours", "our Popen"], cwd=ROOT, check=True)
    costs = cost_tables.Costs(tmp_path)
    assert (costs.counts(), costs.sizes(), set(costs.rounds().values())) == ([1, 10], [0], {2})
    for what in ("start, 10 live", "start and join, 1 live", "start, 0 GiB"):
        for role in ("ours", "our Popen", "fork", "vfork"):
            assert 0 < (costs.median(role, what) or 0) < 1, (role, what)
    assert costs.median("our Popen", "wait, 10 live") is None
    assert 0 < (costs.median("ours", "wait, 10 live") or 0) < 1
    assert costs.children["ours"]["10"]["threads"] == 0
    assert 1 <= costs.children["ours"]["10"]["fds"] <= 2.2  # 2, and the lifeline's own


def test_each_table_has_a_place_and_is_up_to_date() -> None:
    found = matrix_tables.read(files.MATRIX)
    texts = "".join((ROOT / name).read_text() for name in files.TEXTS)
    places = re.findall(r"<!-- measured: (.*) -->", texts)
    assert set(places) == set(files.sections(found, cost_tables.Costs(files.RESULTS)))
    for name, content in files.outputs(found).items():
        assert (ROOT / name).read_text() == content, f"{name}: python -m benchmarks.render --write"


def test_a_place_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!-- end -->"):
        files.fill("<!-- measured: about -->\nold", {"about": "new"})
    assert files.fill("a <!-- measured: about -->\nold<!-- end --> b", {"about": "new "}) == (
        "a <!-- measured: about -->\nnew <!-- end --> b"
    )

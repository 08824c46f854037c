"""The tables of results/costs.json, children.json, ratios.json and supervisor.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyperf

from ..costs.roles import COUNTS, FLOORS, IDLE_AT, ROLES, SIZES
from ..ratios.measure import Row, table
from . import matrix_tables

NAMES = FLOORS | {name: role.title for name, role in ROLES.items()}


class Costs:
    """What was measured, by role."""

    def __init__(self, directory: Path) -> None:
        path = directory / "costs.json"
        suite = pyperf.BenchmarkSuite.load(str(path)) if path.exists() else []
        self._found = {bench.get_name(): bench for bench in suite}
        children = _load(directory / "children.json")
        self.host: dict[str, Any] = children.get("host", {})
        self.children: dict[str, Any] = children.get("roles", {})
        self.ratios: dict[str, dict[str, Any]] = {
            name: _load(directory / f"{name}.json") for name in ("ratios", "supervisor")
        }

    def median(self, role: str, what: str) -> float | None:
        """In seconds."""
        bench = self._found.get(f"{role}, {what}")
        return float(bench.median()) if bench else None

    def cell(self, role: str, what: str) -> str:
        """The median, and the median deviation from it in percent."""
        bench = self._found.get(f"{role}, {what}")
        if not bench:
            return ""
        spread = f" ±{bench.median_abs_dev() / bench.median():.0%}" if bench.get_nvalue() > 1 else ""
        return in_words(bench.median()) + spread

    def why_not(self, role: str, count: int) -> str:
        """Why there is no time for so many children."""
        if role in ROLES and count > ROLES[role].most:
            return "not tried"
        return "would take half of the memory" if role in self.children else "not installed"

    def rounds(self) -> dict[str, int]:
        """How many rounds each role has in full."""
        runs: dict[str, int] = {}
        for name, bench in self._found.items():
            title = NAMES[name.partition(", ")[0]]
            runs[title] = min(bench.get_nrun(), runs.get(title, bench.get_nrun()))
        return runs

    def counts(self) -> list[int]:
        """The counts that at least one role has reached."""
        return [count for count in COUNTS if any(name.endswith(f"start, {count} live") for name in self._found)]

    def sizes(self) -> list[int]:
        return [gib for gib in SIZES if any(name.endswith(f"start, {gib} GiB") for name in self._found)]


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def in_words(seconds: float) -> str:
    micro = seconds * 1e6
    if micro < 10:
        return f"{micro:.1f} µs"
    return f"{micro:,.0f} µs" if micro < 10_000 else f"{micro / 1000:,.0f} ms"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    return "\n".join(rows + [f"| {' | '.join(line)} |" for line in lines]) + "\n"


def _over(costs: Costs, head: str, what: str, heads: dict[str, str]) -> str:
    """``heads``: the title of each column, and how the names of its measurements end."""
    lines = []
    for role in NAMES:
        cells = {end: costs.cell(role, f"{what}, {end}") for end in heads.values()}
        if any(cells.values()):
            whys = (cell or costs.why_not(role, int(end.split()[0])) for end, cell in cells.items())
            lines.append([NAMES[role], *whys])
    return _table([head, *heads], lines)


def by_count(costs: Costs) -> str:
    heads = {f"{count:,}": f"{count} live" for count in costs.counts()}
    parts = {
        "one start, until so many live": "start",
        "start and join, so many live": "start and join",
        "wait for the next of": "wait",
    }
    return "\n".join(_over(costs, head, what, heads) for head, what in parts.items())


def by_size(costs: Costs) -> str:
    heads = {f"{gib} GiB": f"{gib} GiB" for gib in costs.sizes()}
    parts = {"one start, up to 10 live, parent of": "start", "start and join, parent of": "start and join"}
    return "\n".join(_over(costs, head, what, heads) for head, what in parts.items())


def each(costs: Costs) -> str:
    lines = []
    for role in filter(costs.children.get, NAMES):
        found = costs.children[role]
        most = str(min(IDLE_AT, max(map(int, found))))
        cell = found[most]
        idle = f"{cell['idle_ns'] / 1e6:.1f} ms in {cell['idle_s']:.0f} s" if cell.get("idle_s") else ""
        lines.append(
            [
                NAMES[role] + (f" ({most})" if int(most) < IDLE_AT else ""),
                f"{cell['fds']:.2f}",
                f"{cell['threads']:.0f}",
                f"{cell['parent_kib']:.1f} KiB",
                f"{cell['child_kib']:,.0f} KiB",
                idle,
            ]
        )
    return _table(
        [
            f"with {IDLE_AT:,} children",
            "fds in the parent, each",
            "threads more",
            "parent's memory, each",
            "child's own memory",
            "processor time of all, idle",
        ],
        lines,
    )


def about(costs: Costs) -> str:
    if not costs.host:
        return "Nothing has been measured.\n"
    rounds = costs.rounds()
    most = max(rounds.values(), default=0)
    fewer = ", ".join(name for name, count in rounds.items() if count < most)
    return f"{most} round{'s' * (most != 1)}{fewer and f' (fewer: {fewer})'}; {_host(costs.host)}\n"


def _host(host: dict[str, Any]) -> str:
    return (
        f"{matrix_tables.in_words(host)}, {host['date']}, orphanguard {host['commit']}; "
        f"the load average was {host['load']} as it began."
    )


def ratios(costs: Costs, name: str) -> str:
    found = costs.ratios[name]
    if not found:
        return "Nothing has been measured.\n"
    return f"{_host(found['host'])}\n\n{table([Row(**row) for row in found['rows']])}\n"

"""What the cells of the matrix say, in words and glyphs, and the tables of them."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..matrix.rows import ROWS, not_applicable
from ..strategies.catalogue import GROUPS, Strategy

TRIALS = 20
HEADLINE = {
    "term": "SIGTERM",
    "kill": "SIGKILL",
    "starting": "SIGKILL while starting",
    "stopped": "child is stopped",
    "setsid": "`setsid` grandchild",
    "early-thread": "starting thread ends",
}
TIMED = "kill", "siblings", "busy", "setsid"
REFUSED = "\N{EN DASH}"
TRIED = "clean", "leak", "early", "waits", "refused"
LEGEND = f"""\
| | |
|---|---|
| ✓ | nobody was left and nobody died early: *never seen in so many trials*, which is no proof |
| ✗ 20/40 | 20 of 40 processes outlived the parent |
| † 20/20 | 20 of 20 died, or a stranger was hit, though the parent lived on |
| … | the parent did not end: it waits for its children, as multiprocessing does, or has only passed the signal on |
| {REFUSED} | refused: the strategy would not start them, and said so |
| · | there is no such thing here (no fork server, no process in between) |
| ? | not tried: what it needs is not installed, or the host can't do it, or it did not come up |
| ° | orphanguard promises nothing here, and says so |
| (5) | only so many trials; without a number at least 20 |
"""


@dataclass(frozen=True)
class Mark:
    glyph: str
    text: str = ""
    kind: str = "unknown"  #: clean, leak, early, waits, refused, none, unknown
    promised: bool = True

    def __str__(self) -> str:
        return " ".join(filter(None, (self.glyph, self.text))) + ("" if self.promised else "°")


@dataclass(frozen=True)
class Measured:
    """A strategy with its results."""

    name: str
    group: str
    strategy: Strategy
    missing: str
    host: dict[str, Any]
    cells: dict[str, Any]

    @property
    def title(self) -> str:
        return self.strategy.title

    @property
    def ours(self) -> bool:
        return self.strategy.ours

    def mark(self, key: str) -> Mark:
        cell = self.cells.get(key)
        promised = not {key, *key.split("+")} & set(self.strategy.not_claimed)
        if not cell and not_applicable(ROWS[key], self.name):
            return Mark("·", kind="none")
        if cell and "refused" in cell:
            return Mark(REFUSED, kind="refused", promised=promised)
        if not cell or not cell["trials"]:
            return Mark("?")
        found = {}
        if cell["survivors"]:
            found["leak"] = f"✗ {cell['survivors']}/{cell['started']}"
        if cell["early"]:
            found["early"] = f"† {cell['early']}/{cell['trials'] if key == 'early-pids' else cell['started']}"
        if found:
            glyph, _, text = " ".join(found.values()).partition(" ")
            return Mark(glyph, text, list(found)[-1], promised)
        if cell["waits"]:
            some = f"{cell['waits']}/{cell['trials']}" if cell["waits"] < cell["trials"] else ""
            return Mark("…", some, kind="waits")
        return Mark("✓", f"({cell['trials']})" if cell["trials"] < TRIALS else "", "clean", promised)


def read(directory: Path) -> list[Measured]:
    found = []
    for group, strategies in GROUPS.items():
        for name, strategy in strategies.items():
            path = directory / f"{name}.json"
            result = json.loads(path.read_text()) if path.exists() else {"missing": "", "host": {}, "cells": {}}
            found.append(Measured(name, group, strategy, result["missing"], result["host"], result["cells"]))
    return found


def unclean(found: list[Measured]) -> list[str]:
    """The cells of orphanguard's own that are not as promised: what has to be mended."""
    return [
        f"{measured.title}, {ROWS[key].title}: {mark}"
        for measured in found
        if measured.ours
        for key in measured.cells
        if (mark := measured.mark(key)).kind in ("leak", "early") and mark.promised
    ]


def matrix(found: list[Measured], keys: list[str], titles: dict[str, str] | None = None) -> str:
    heads = [(titles or {}).get(key, ROWS[key].title) for key in keys]
    lines = [f"| children started by | {' | '.join(heads)} |", "|---|" + ":-:|" * len(keys)]
    group = ""
    for measured in found:
        if measured.group != group:
            group = measured.group
            lines.append(f"| **{group}** |" + " |" * len(keys))
        lines.append(f"| {measured.title} | {' | '.join(str(measured.mark(key)) for key in keys)} |")
    return "\n".join(lines) + "\n"


def crossed(found: list[Measured]) -> str:
    """The pairs of a fault and a kind of child that were measured on request, where orphanguard promises something."""
    lines = ["| children started by | pairs | processes | left alive | dead early |", "|---|--:|--:|--:|--:|"]
    for measured in found:
        keys = [key for key in measured.cells if ROWS[key].group == "cross"]
        cells = [measured.cells[key] for key in keys if measured.mark(key).promised and measured.cells[key]["trials"]]
        if cells and measured.ours:
            sums = [sum(cell[what] for cell in cells) for what in ("started", "survivors", "early")]
            lines.append(f"| {measured.title} | {len(cells)} | {' | '.join(f'{each:,}' for each in sums)} |")
    return "\n".join(lines) + "\n"


def did(measured: Measured) -> str:
    """What the strategy did, in a few words."""
    if measured.missing:
        return f"not installed here ({measured.missing}): nothing is known"
    marks = {key: measured.mark(key) for key in measured.cells if ROWS[key].group != "cross"}

    def titles(kind: str, *groups: str) -> str:
        """The titles of the rows of that kind; where they are most of all rows, the titles of the others."""
        tried = {key: mark.kind for key, mark in marks.items() if ROWS[key].group in groups and mark.kind in TRIED}
        those = [ROWS[key].title for key, found in tried.items() if found == kind]
        others = [ROWS[key].title for key, found in tried.items() if found != kind]
        if len(those) > 3 and len(those) > 2 * len(others):
            return f"all {len(tried)}" if not others else f"all {len(tried)} but: {', '.join(others)}"
        return ", ".join(those)

    said = []
    if leaks := titles("leak", "fault"):
        said.append(f"left alive when the parent ends: {leaks}")
    if leaks := titles("leak", "child"):
        said.append(f"left alive by SIGKILL if the child is: {leaks}")
    if leaks := titles("leak", "early"):
        said.append(f"left alive by SIGKILL after: {leaks}")
    if early := titles("early", "early"):
        said.append(f"**killed early**: {early}")
    if refused := titles("refused", "fault", "child", "early"):
        said.append(f"refused: {refused}")
    if strays := {stray for cell in measured.cells.values() for stray in cell.get("strays", ())}:
        said.append(f"left processes of its own: {', '.join(sorted({program(stray) for stray in strays}))}")
    clean = sum(mark.kind == "clean" for mark in marks.values())
    said.append(f"clean in {clean} of {sum(mark.kind in ('clean', 'leak', 'early') for mark in marks.values())} rows")
    return "; ".join(said)


def program(command: str) -> str:
    """The program's name and module, without its folder and arguments."""
    words = command.split()
    module = next((words[place + 1] for place, word in enumerate(words[:-1]) if word == "-m"), "")
    return f"`{' '.join(filter(None, (Path(words[0]).name, module)))}`"


def claims(found: list[Measured]) -> str:
    lines = ["| children started by | what people say it does | what it did |", "|---|---|---|"]
    lines += [f"| {measured.title} | {measured.strategy.claims} | {did(measured)} |" for measured in found]
    return "\n".join(lines) + "\n"


def times(found: list[Measured]) -> str:
    """The times of the cells in which nobody was left."""
    lines = [
        f"| children started by | {' | '.join(ROWS[key].title for key in TIMED)} | held before it was armed |",
        "|---|" + "--:|" * (len(TIMED) + 1),
    ]
    for measured in found:
        cells = [_time(measured.cells.get(key)) for key in TIMED]
        if any(cells):
            held = measured.cells.get("starting", {})
            # The held child is stopped: only a strategy that ends stopped children tells whether it was armed.
            tells = "unarmed" in held and measured.mark("stopped").kind == "clean"
            cells.append(f"{held['unarmed']} of {held['trials']}" if tells else "")
            lines.append(f"| {measured.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _time(cell: dict[str, Any] | None) -> str:
    if not cell or not cell.get("ms") or cell["survivors"]:
        return ""
    return f"{statistics.median(cell['ms']):.1f}, {max(cell['ms']):.1f}"


def in_words(host: dict[str, Any]) -> str:
    processors = f"{host['cpus']} processors ({host['cpu']})"
    return f"Linux {host['kernel']}, {host['machine']}, {processors}, Python {host['python']}"


def about(found: list[Measured]) -> str:
    """On which hosts and when all was measured, in one line."""
    tried = [measured for measured in found if measured.cells]
    if not tried:
        return "Nothing has been measured."
    hosts = {in_words(measured.host) + ("" if measured.host["uid"] else ", as root") for measured in tried}
    dates = sorted(cell["date"][:10] for measured in tried for cell in measured.cells.values() if "date" in cell)
    versions = {name: version for measured in tried for name, version in measured.host["versions"].items()}
    commits = sorted({measured.host["commit"] for measured in tried if "commit" in measured.host})
    trials = sum(cell["trials"] for measured in tried for cell in measured.cells.values())
    started = sum(cell.get("started", 0) for measured in tried for cell in measured.cells.values())
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{trials:,} parents with {started:,} children, {' and '.join(sorted(hosts))}, {dates[0]} to {dates[-1]}; "
        f"orphanguard {' and '.join(commits)}; {packages}."
    )


def reasons(found: list[Measured]) -> str:
    """Why a cell is a question mark or a refusal."""
    lines: dict[str, list[str]] = {}
    for measured in found:
        if measured.missing:
            lines.setdefault(f"not installed: {measured.missing}", []).append(measured.title)
        for key, cell in measured.cells.items():
            why = cell.get("impossible") or cell.get("refused")
            if not why and not cell["trials"] and cell.get("failed"):
                why = cell["failed"][0]
            if why:
                lines.setdefault(why.replace("|", "\\|"), []).append(f"{measured.title} ({ROWS[key].title})")
    return "".join(f"- {', '.join(who)}: {why}\n" for why, who in lines.items())


def for_terminal(directory: Path, keys: list[str]) -> str:
    lines = []
    for measured in (each for each in read(directory) if each.cells or each.missing):
        marks = [str(measured.mark(key)) for key in keys]
        lines.append(f" {measured.title.replace('`', ''):42}" + "".join(f"{mark:14}" for mark in marks))
    heads = "".join(f"{ROWS[key].title.replace('`', '')[:13]:14}" for key in keys)
    return "\n".join([f" {'':42}{heads}", *lines, "", " ✗ left alive  † killed early  … parent waits  ✓ none seen"])

"""What the cells say, in words and glyphs, and the tables of them. No measuring here."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import strategies
from .rows import ROWS, not_applicable

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
class Strategy:
    name: str
    group: str
    title: str
    claims: str
    missing: str
    host: dict[str, Any]
    cells: dict[str, Any]
    not_claimed: dict[str, str]
    ours: bool

    def mark(self, key: str) -> Mark:
        cell = self.cells.get(key)
        promised = not {key, *key.split("+")} & set(self.not_claimed)
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


def read(directory: Path) -> list[Strategy]:
    found = []
    for group, names in strategies.NAMES.items():
        for name in names:
            path = directory / f"{name}.json"
            result = json.loads(path.read_text()) if path.exists() else {"missing": "", "host": {}, "cells": {}}
            ours = bool(strategies.field_of(name, "ORPHANGUARD"))
            found.append(
                Strategy(
                    name,
                    group,
                    strategies.field_of(name, "TITLE"),
                    strategies.field_of(name, "CLAIMS"),
                    result["missing"],
                    result["host"],
                    result["cells"],
                    strategies.load(name).NOT_CLAIMED if ours else {},
                    ours,
                )
            )
    return found


def unclean(found: list[Strategy]) -> list[str]:
    """Cells of ours that are not as promised: what has to be mended."""
    return [
        f"{strategy.title}, {ROWS[key].title}: {mark}"
        for strategy in found
        if strategy.ours
        for key in strategy.cells
        if (mark := strategy.mark(key)).kind in ("leak", "early") and mark.promised
    ]


def matrix(found: list[Strategy], keys: list[str], titles: dict[str, str] | None = None) -> str:
    heads = [(titles or {}).get(key, ROWS[key].title) for key in keys]
    lines = [f"| children started by | {' | '.join(heads)} |", "|---|" + ":-:|" * len(keys)]
    group = ""
    for strategy in found:
        if strategy.group != group:
            group = strategy.group
            lines.append(f"| **{group}** |" + " |" * len(keys))
        lines.append(f"| {strategy.title} | {' | '.join(str(strategy.mark(key)) for key in keys)} |")
    return "\n".join(lines) + "\n"


def crossed(found: list[Strategy]) -> str:
    """The pairs that have been asked for, of what orphanguard promises."""
    lines = ["| children started by | pairs | processes | left alive | dead early |", "|---|--:|--:|--:|--:|"]
    for strategy in found:
        keys = [key for key in strategy.cells if ROWS[key].group == "cross"]
        cells = [strategy.cells[key] for key in keys if strategy.mark(key).promised and strategy.cells[key]["trials"]]
        if cells and strategy.ours:
            sums = [sum(cell[what] for cell in cells) for what in ("started", "survivors", "early")]
            lines.append(f"| {strategy.title} | {len(cells)} | {' | '.join(f'{each:,}' for each in sums)} |")
    return "\n".join(lines) + "\n"


def did(strategy: Strategy) -> str:
    """What it did, in one sentence or three."""
    if strategy.missing:
        return f"not installed here ({strategy.missing}): nothing is known"
    marks = {key: strategy.mark(key) for key in strategy.cells if ROWS[key].group != "cross"}

    def titles(kind: str, *groups: str) -> str:
        """Those of a kind; where they are most, those that are not."""
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
    if strays := {stray for cell in strategy.cells.values() for stray in cell.get("strays", ())}:
        said.append(f"left processes of its own: {', '.join(sorted({program(stray) for stray in strays}))}")
    clean = sum(mark.kind == "clean" for mark in marks.values())
    said.append(f"clean in {clean} of {sum(mark.kind in ('clean', 'leak', 'early') for mark in marks.values())} rows")
    return "; ".join(said)


def program(command: str) -> str:
    """Its name, without where it is and what it runs."""
    words = command.split()
    module = next((words[place + 1] for place, word in enumerate(words[:-1]) if word == "-m"), "")
    return f"`{' '.join(filter(None, (Path(words[0]).name, module)))}`"


def claims(found: list[Strategy]) -> str:
    lines = ["| children started by | what people say it does | what it did |", "|---|---|---|"]
    lines += [f"| {strategy.title} | {strategy.claims} | {did(strategy)} |" for strategy in found]
    return "\n".join(lines) + "\n"


def times(found: list[Strategy]) -> str:
    """Of those cells in which nobody was left."""
    lines = [
        f"| children started by | {' | '.join(ROWS[key].title for key in TIMED)} | held before it was armed |",
        "|---|" + "--:|" * (len(TIMED) + 1),
    ]
    for strategy in found:
        cells = [_time(strategy.cells.get(key)) for key in TIMED]
        if any(cells):
            held = strategy.cells.get("starting", {})
            # Who is held is stopped: whether it was armed, only a death that reaches the stopped can tell.
            tells = "unarmed" in held and strategy.mark("stopped").kind == "clean"
            cells.append(f"{held['unarmed']} of {held['trials']}" if tells else "")
            lines.append(f"| {strategy.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _time(cell: dict[str, Any] | None) -> str:
    if not cell or not cell.get("ms") or cell["survivors"]:
        return ""
    return f"{statistics.median(cell['ms']):.1f}, {max(cell['ms']):.1f}"


def in_words(host: dict[str, Any]) -> str:
    processors = f"{host['cpus']} processors ({host['cpu']})"
    return f"Linux {host['kernel']}, {host['machine']}, {processors}, Python {host['python']}"


def about(found: list[Strategy]) -> str:
    """What it was measured on, in one line, and when."""
    measured = [strategy for strategy in found if strategy.cells]
    if not measured:
        return "Nothing has been measured."
    hosts = {
        f"{in_words(host)}" + ("" if host["uid"] else ", as root") for host in (strategy.host for strategy in measured)
    }
    dates = sorted(cell["date"][:10] for strategy in measured for cell in strategy.cells.values() if "date" in cell)
    versions = {name: version for strategy in measured for name, version in strategy.host["versions"].items()}
    commits = sorted({strategy.host["commit"] for strategy in measured if "commit" in strategy.host})
    trials = sum(cell["trials"] for strategy in measured for cell in strategy.cells.values())
    started = sum(cell.get("started", 0) for strategy in measured for cell in strategy.cells.values())
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{trials:,} parents with {started:,} children, {' and '.join(sorted(hosts))}, {dates[0]} to {dates[-1]}; "
        f"orphanguard {' and '.join(commits)}; {packages}."
    )


def reasons(found: list[Strategy]) -> str:
    """Why a cell is a question mark or a refusal."""
    lines: dict[str, list[str]] = {}
    for strategy in found:
        if strategy.missing:
            lines.setdefault(f"not installed: {strategy.missing}", []).append(strategy.title)
        for key, cell in strategy.cells.items():
            why = cell.get("impossible") or cell.get("refused")
            if not why and not cell["trials"] and cell.get("failed"):
                why = cell["failed"][0]
            if why:
                lines.setdefault(why.replace("|", "\\|"), []).append(f"{strategy.title} ({ROWS[key].title})")
    return "".join(f"- {', '.join(who)}: {why}\n" for why, who in lines.items())


def for_terminal(directory: Path, keys: list[str]) -> str:
    lines = []
    for strategy in filter(lambda strategy: strategy.cells or strategy.missing, read(directory)):
        marks = [str(strategy.mark(key)) for key in keys]
        lines.append(f" {strategy.title.replace('`', ''):42}" + "".join(f"{mark:14}" for mark in marks))
    heads = "".join(f"{ROWS[key].title.replace('`', '')[:13]:14}" for key in keys)
    return "\n".join([f" {'':42}{heads}", *lines, "", " ✗ left alive  † killed early  … parent waits  ✓ none seen"])

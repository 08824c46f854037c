"""What the demo shows: a table that fills up in a terminal, plain lines in a log, and the table at the end of both."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .faults import WATCH
from .rows import ROWS, Failure, Fault, Outcome, Outcomes, Row

NAME, CELL = 32, 12
WIDTH = NAME + 4 * CELL  # 80
HEADS = {
    Fault.TERM_PARENT: "SIGTERM to\nthe parent",
    Fault.KILL_PARENT: "kill -9 of\nthe parent",
    Fault.TERM_CHILD: "SIGTERM to\none sibling",
    Fault.THREAD_ENDS: "starting\nthread's end",
}
LEGEND = (
    f"LEFT: alive {WATCH:.0f} s after the parent was hit. KILLED: died though the parent lived.",
    "Each parent has 3 children; multiprocessing's own helpers are not counted.",
)
NOTES = {
    "a": "everyone passes the SIGTERM on and lives on, the one that was hit included",
    "b": "one child's SIGTERM ends them all, parent included: that is its purpose",
}


def line(fault: Fault, outcome: Outcome | Failure) -> str:
    """What happened, in words."""
    if isinstance(outcome, Failure):
        return f"FAILED: {outcome.reason}"
    took = f"after {outcome.after * 1000:.0f} ms"
    if fault.ends_parent:
        if not outcome.left and not outcome.parent_lives:
            return f"parent and all {outcome.children} children dead {took}"
        return f"parent {'lives on' if outcome.parent_lives else 'dead'}, {outcome.left} children LEFT"
    if outcome.parent_killed:
        return f"all dead {took}, the parent too"
    if not outcome.hit_ended:
        return f"it lives on, and so do {outcome.left} others"
    who = "others" if fault is Fault.TERM_CHILD else "children"
    hit = "it died" if fault is Fault.TERM_CHILD else "it ended"
    return f"{hit}; {outcome.killed} {who} KILLED" if outcome.killed else f"{hit}; {outcome.left} {who} live on"


def note(fault: Fault, outcome: Outcome) -> str:
    if fault is not Fault.THREAD_ENDS and not outcome.hit_ended:
        return "a"
    return "b" if fault is Fault.TERM_CHILD and outcome.parent_killed else ""


def cell(fault: Fault, outcome: Outcome | Failure | None) -> Text:
    if outcome is None:
        return Text("...", "dim")
    if isinstance(outcome, Failure):
        return Text("FAILED", "bold yellow")
    mark = note(fault, outcome)
    suffix = f" ({mark})" if mark else ""
    if mark == "b":
        return Text("all" + suffix, "yellow")
    bad, word = (outcome.left, "LEFT") if fault.ends_parent else (outcome.killed, "KILLED")
    return Text(f"{bad} {word}{suffix}", "bold red") if bad else Text(f"none{suffix}", "green")


def table(results: dict[Row, Outcomes], rule_character: str) -> RenderableType:
    rule = Text(rule_character * WIDTH, "dim")
    groups = Table.grid()
    for width in (NAME, 2 * CELL, 2 * CELL):
        groups.add_column(width=width)
    groups.add_row("", "LEFT ALIVE after", "KILLED EARLY by", style="bold")
    parts: list[RenderableType] = [groups, _grid([("Children started by", *HEADS.values())], "bold")]
    for kind in dict.fromkeys(row.kind for row in ROWS):
        lines = []
        for row in ROWS:
            if row.kind == kind:
                outcomes = results.get(row)
                cells = ["" if outcomes is None else cell(fault, outcomes.get(fault)) for fault in Fault]
                lines.append((row.name, *cells))
        parts += [rule, _grid(lines, "")]
    return Group(*parts, rule)


def _grid(lines: Iterable[tuple[str | Text, ...]], style: str) -> Table:
    grid = Table.grid()
    for width in (NAME, CELL, CELL, CELL, CELL):
        grid.add_column(width=width, no_wrap=True, vertical="bottom")
    for name, *cells in lines:
        grid.add_row(Text(f" {name}"), *cells, style=style)
    return grid


class Screen:
    """In a terminal everything happens in place; elsewhere each line is printed once, without control characters."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        width = min(WIDTH, Console().width) if terminal else WIDTH
        # file: without it rich takes any stdout for one in UTF-8.
        self.console = Console(file=sys.stdout, width=width, force_terminal=terminal, highlight=False, markup=False)
        self._rule = "-" if self.console.options.ascii_only else "─"
        self.results: dict[Row, Outcomes] = {}
        self._row: Row | None = None
        self._now: dict[Fault, str] = {}
        self._begun = time.monotonic()
        in_place = terminal and not self.console.is_dumb_terminal
        self._live = Live(console=self.console, get_renderable=self._picture, transient=True) if in_place else None

    def __enter__(self) -> Screen:
        self._begun = time.monotonic()
        if self._live:
            self._live.start()
        else:
            self.console.print(self._title())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def begin(self, row: Row) -> None:
        self._row, self._now = row, {}
        self.results[row] = {}
        if not self._live:
            self.console.print(f"\n{self._where()}")

    def say(self, fault: Fault, text: str) -> None:
        self._now[fault] = text

    def done(self, row: Row, fault: Fault, outcome: Outcome | Failure) -> None:
        self.results[row][fault] = outcome
        self._now[fault] = line(fault, outcome)

    def end(self, row: Row) -> None:
        if not self._live:
            for fault in Fault:
                self.console.print(f"   {fault.value:22} {self._now[fault]}", soft_wrap=True)

    def finish(self, unexpected: list[str], verdict: str) -> None:
        seen = {
            note(fault, outcome)
            for outcomes in self.results.values()
            for fault, outcome in outcomes.items()
            if isinstance(outcome, Outcome)
        }
        if not self._live:
            self.console.print()
        self.console.print(self._title())
        self.console.print()
        self.console.print(table(self.results, self._rule))
        for text in LEGEND:
            self.console.print(f" {text}", style="dim")
        for mark, text in NOTES.items():
            if mark in seen:
                self.console.print(f" ({mark}) {text}", style="dim")
        self.console.print()
        for text in unexpected:
            self.console.print(Padding(f"UNEXPECTED: {text}", (0, 1)), style="bold red")
        self.console.print(verdict, style="bold red" if unexpected else "bold green")

    def _title(self) -> Text:
        kernel = ".".join(platform.release().split(".")[:2])
        python = ".".join(platform.python_version_tuple()[:2])
        return Text.assemble(
            (" Who outlives a dead parent, and who dies too early?", "bold"),
            (f"  Linux {kernel}, Python {python}", "dim"),
        )

    def _where(self) -> str:
        if self._row is None:
            return ""
        return f" {ROWS.index(self._row) + 1:2} of {len(ROWS)}  {self._row.name.strip()}"

    def _picture(self) -> RenderableType:
        seconds = f"{time.monotonic() - self._begun:.0f} s "
        where = self._where()
        parts = [
            self._title(),
            table(self.results, self._rule),
            Text.assemble((where, "bold"), seconds.rjust(WIDTH - len(where)), no_wrap=True),
        ]
        parts += [
            Text(f"   {fault.value:22} {self._now.get(fault, '')}", no_wrap=True, overflow="crop") for fault in Fault
        ]
        return Group(*parts)

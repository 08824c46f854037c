"""The tables and the picture of results/costs.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .costs import COUNTS, FEW, FLOOR, IDLE_AT, ROLES, SIZES
from .pictures import svg, text

NAMES = {**ROLES, FLOOR: FLOOR}
OURS = "ours", "our Popen"
WIDTH = 430
BAR = 168
LABEL = 206
LINE = 20
MANY = str(IDLE_AT)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"host": {}, "roles": {}}
    found["roles"] = {name: found["roles"][name] for name in NAMES if name in found["roles"]}
    return found


def _counts(found: dict[str, Any]) -> list[str]:
    """Those that anybody has reached."""
    return [str(count) for count in COUNTS if any(str(count) in role["count"] for role in found["roles"].values())]


def _cells(found: dict[str, Any], role: dict[str, Any], what: str) -> list[str]:
    return [_in_words(role["count"].get(count, {}).get(what)) for count in _counts(found)]


def _in_words(nanoseconds: float | None) -> str:
    if nanoseconds is None:
        return ""
    micro = nanoseconds / 1000
    return f"{micro:,.0f} µs" if micro < 10_000 else f"{micro / 1000:,.0f} ms"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    return "\n".join(rows + [f"| {' | '.join(line)} |" for line in lines]) + "\n"


def _by_count(found: dict[str, Any], what: str, head: str) -> str:
    lines = [[NAMES[name], *_cells(found, role, what)] for name, role in found["roles"].items()]
    heads = [f"{int(count):,}" for count in _counts(found)]
    return _table([head, *heads], [line for line in lines if any(line[1:])])


def starts(found: dict[str, Any]) -> str:
    return _by_count(found, "start", "one start, until so many live")


def joins(found: dict[str, Any]) -> str:
    return _by_count(found, "join", "start and join, so many live")


def waits(found: dict[str, Any]) -> str:
    return _by_count(found, "wait", "wait for the next of")


def sizes(found: dict[str, Any]) -> str:
    lines = [
        [
            NAMES[name],
            *(
                f"{_in_words(role['size'][str(gib)]['start'])}, {_in_words(role['size'][str(gib)]['join'])}"
                for gib in SIZES
            ),
        ]
        for name, role in found["roles"].items()
    ]
    return _table(
        [f"start; start and join, up to {FEW} live, parent of", *(f"{gib} GiB" for gib in SIZES)],
        lines,
    )


def each(found: dict[str, Any]) -> str:
    lines = []
    for name, role in found["roles"].items():
        cell = role["count"].get(MANY, {})
        if "fds" in cell:
            idle = f"{cell['idle_ns'] / 1e6:.1f} ms in {cell['idle_s']:.0f} s" if cell.get("idle_s") else ""
            lines.append(
                [
                    NAMES[name],
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


def _rounds(count: int) -> str:
    return f"Medians of {count} rounds" if count > 1 else "One round"


def about(found: dict[str, Any]) -> str:
    host = found["host"]
    if not host:
        return "Nothing has been measured.\n"
    return (
        f"{_rounds(host['rounds'])}; Linux {host['kernel']}, {host['machine']}, {host['cpus']} processors, "
        f"Python {host['python']}, {host['date']}, orphanguard {host['commit']}; "
        f"the load average was {host['load']} as it began.\n"
    )


def picture(found: dict[str, Any], colours: dict[str, str]) -> str:
    """Bars, each with its number; orphanguard's have a mark besides their colour."""
    roles = found["roles"]
    counts = _counts(found)
    most = counts[-1] if counts else "0"
    before = f"{int(counts[-2]):,} to " if len(counts) > 1 else ""
    size = str(SIZES[-1])
    panels = [
        (
            f"One more start, {before}{int(most):,} live",
            {name: role["count"].get(most, {}).get("start") for name, role in roles.items()},
        ),
        (
            f"One start in a parent of {size} GiB",
            {name: role["size"].get(size, {}).get("start") for name, role in roles.items()},
        ),
        (
            f"Waiting for the next of {int(most):,}",
            {name: role["count"].get(most, {}).get("wait") for name, role in roles.items()},
        ),
    ]
    parts = [text(6, 18, "What a child costs", colours["ink"], 15, more='font-weight="600"')]
    y = 30.0
    for title, values in panels:
        bars = {name: value for name, value in values.items() if value is not None}
        if not bars:
            continue
        y += 16
        parts.append(text(6, y, title, colours["dim"], 11, more='font-weight="600"'))
        y += 6
        longest = max(bars.values())
        for name, value in bars.items():
            ours = name in OURS
            label = NAMES[name].replace("`", "").replace("orphanguard.", "")
            parts.append(text(6, y + 14, ("▸ orphanguard " if ours else "") + label, colours["ink"], 10.5))
            length = max(1.5, BAR * value / longest)
            colour = colours["ours"] if ours else colours["bar"]
            parts.append(
                f'<rect x="{LABEL}" y="{y + 4:.1f}" width="{length:.1f}" height="{LINE - 7}" rx="2" fill="{colour}"/>'
            )
            parts.append(text(LABEL + length + 4, y + 14, _in_words(value), colours["ink"], 10.5))
            y += LINE
    return svg(WIDTH, y + 8, parts, colours, "What starting and waiting cost")

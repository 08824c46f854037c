"""What a child costs, as SVG."""

from __future__ import annotations

from ..costs.roles import OURS
from .cost_tables import NAMES, Costs, in_words
from .svg import heading, svg, text

WIDTH = 430
BAR = 168
LABEL = 206
LINE = 20
FAR = 10  # times as long as the next bar: such a bar is drawn broken
PANELS = {  # of the picture
    "Start and join, one other child": (
        "start and join, 1 live",
        ("fork", "ours", "standard", "billiard", "os.fork"),
    ),
    "One more start, {before} to {most} live": (
        "start, {most} live",
        ("fork", "ours", "standard", "billiard", "os.fork"),
    ),
    "A program's start, 100 to 1,000 live": (
        "start, 1000 live",
        ("vfork", "our Popen", "our tree", "subprocess", "preexec_fn", "processkit", "running-process"),
    ),
    "A program's start in a parent of {size} GiB": (
        "start, {size} GiB",
        ("vfork", "our Popen", "subprocess", "preexec_fn", "processkit", "running-process"),
    ),
    "Waiting for the next of {most}": ("wait, {most} live", ("ours", "standard", "billiard")),
}


def picture(costs: Costs, colours: dict[str, str]) -> str:
    """Bars, each with its number. orphanguard's have a mark besides their colour."""
    counts = costs.counts() or [0]
    words = {"before": f"{counts[-2] if len(counts) > 1 else 0:,}", "size": f"{(costs.sizes() or [0])[-1]}"}
    parts = heading("What a child costs", "Medians, one host: shorter is better. ▸ is orphanguard.", colours)
    y = 44.0
    for title, (what, roles) in PANELS.items():
        bars = {role: costs.median(role, what.format(most=counts[-1], **words)) for role in roles}
        times = sorted(filter(None, bars.values()))
        if not times:
            continue
        y += 16
        parts.append(
            text(6, y, title.format(most=f"{counts[-1]:,}", **words), colours["dim"], 11, more='font-weight="600"')
        )
        y += 6
        broken = (
            len(times) > 3 and times[-1] > FAR * times[-2]
        )  # a whole one would make the others too short to compare
        whole = 1.5 * times[-2] if broken else times[-1]
        for role, seconds in bars.items():
            parts += _bar(role, seconds or costs.why_not(role, counts[-1]), whole, y, colours)
            y += LINE
    return svg(WIDTH, y + 8, parts, colours, "What starting and waiting cost")


def _bar(role: str, seconds: float | str, whole: float, y: float, colours: dict[str, str]) -> list[str]:
    """``seconds``: the time, or why there is none. ``whole``: the time of the longest bar that is not broken."""
    ours = role in OURS
    label = NAMES[role].replace("`", "").replace("orphanguard.", "orphanguard " if ours else "")
    parts = [text(6, y + 14, ("▸ " if ours else "") + label, colours["ink"], 10.5)]
    if isinstance(seconds, str):
        return [*parts, text(LABEL, y + 14, seconds, colours["dim"], 10.5)]
    length = max(1.5, BAR * min(1, seconds / whole))
    colour = colours["ours"] if ours else colours["bar"]
    size = f'width="{length:.1f}" height="{LINE - 7}" rx="2"'
    parts.append(f'<rect x="{LABEL}" y="{y + 4:.1f}" {size} fill="{colour}"/>')
    if seconds > whole:
        for x in (LABEL + length - 30, LABEL + length - 23):
            gap = f'stroke="{colours["paper"]}" stroke-width="2.5"'
            parts.append(f'<path d="M{x:.1f} {y + LINE:.1f}l8 -{LINE}" {gap}/>')
    return [*parts, text(LABEL + length + 4, y + 14, in_words(seconds), colours["ink"], 10.5)]

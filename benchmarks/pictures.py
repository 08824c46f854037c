"""The matrix and the costs as SVG, light and dark. Every cell has a shape of its own: colour says nothing alone."""

from __future__ import annotations

from html import escape

from .tables import HEADLINE, Mark, Strategy

WIDTH = 440  # narrow: on a phone it is shown nearly at its own size
NAME = 192
LINE = 19
HEAD = 116
MARGIN = 46  # for the last head, which leans over it
CELL = (WIDTH - NAME - MARGIN) / len(HEADLINE)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "dim": "#59636e",
    "rule": "#d1d9e0",
    "clean": "#d3ecf5",
    "clean-ink": "#0b5a78",
    "leak": "#c62f0c",
    "leak-ink": "#ffffff",
    "early": "#f2b61b",
    "early-ink": "#2b2000",
    "waits": "#eceff2",
    "bar": "#aab4be",
    "waits-ink": "#59636e",
    "ours": "#0b7aa5",
}
DARK = {
    "paper": "#0d1117",
    "ink": "#f0f6fc",
    "dim": "#9198a1",
    "rule": "#3d444d",
    "clean": "#123a4b",
    "clean-ink": "#9bdcf5",
    "leak": "#e5532d",
    "leak-ink": "#ffffff",
    "early": "#e0a30f",
    "early-ink": "#1d1500",
    "waits": "#21262d",
    "bar": "#59636e",
    "waits-ink": "#9198a1",
    "ours": "#4fc3ee",
}
WORDS = {
    "clean": "none seen to survive or die early",
    "leak": "left alive: orphans",
    "early": "killed early, the parent lives",
    "refused": "refused to start",
    "unknown": "not installed, not tried",
}


def _shape(kind: str, x: float, y: float, ink: str) -> str:
    stroke = f'fill="none" stroke="{ink}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    match kind:
        case "clean":
            return f'<path d="M{x - 4:.1f} {y:.1f}l3 3.2 5.4-6.6" {stroke}/>'
        case "leak":
            return f'<path d="M{x - 3.6:.1f} {y - 3.6:.1f}l7.2 7.2m0-7.2l-7.2 7.2" {stroke}/>'
        case "early":  # a dagger
            return f'<path d="M{x:.1f} {y - 5:.1f}v10m-3.4-7h6.8" {stroke}/>'
        case "refused":
            return f'<path d="M{x - 4:.1f} {y:.1f}h8" {stroke}/>'
        case "waits":
            return "".join(f'<circle cx="{x + dx:.1f}" cy="{y:.1f}" r="1.3" fill="{ink}"/>' for dx in (-4, 0, 4))
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" fill="{ink}">?</text>'


def _cell(mark: Mark, x: float, y: float, colours: dict[str, str]) -> str:
    kind = mark.kind if mark.kind in ("clean", "leak", "early") else "waits"
    box = (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{CELL - 2:.1f}" height="{LINE - 2}" rx="3" '
        f'fill="{colours[kind]}"/>'
    )
    if not mark.promised:  # said to be so: hatched by its frame
        box = box.replace(
            f'fill="{colours[kind]}"', f'fill="{colours["paper"]}" stroke="{colours[kind]}" stroke-dasharray="2.5 2"'
        )
    ink = colours[kind] if not mark.promised and kind != "waits" else colours[f"{kind}-ink"]
    return box + _shape(mark.kind, x + CELL / 2, y + LINE / 2, ink)


def text(x: float, y: float, text: str, colour: str, size: float = 11, *, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{escape(text)}</text>'


def matrix(found: list[Strategy], colours: dict[str, str]) -> str:
    parts = []
    top = 58
    parts.append(text(6, 18, "The parent dies: who is left?", colours["ink"], 15, more='font-weight="600"'))
    parts.append(text(6, 35, "Real parents, really killed; each cell is at least 20 of them.", colours["dim"], 10.5))
    for number, title in enumerate(HEADLINE.values()):
        x = NAME + CELL * (number + 0.5)
        angle = f'transform="rotate(-63 {x:.1f} {top + HEAD - 10:.1f})"'
        parts.append(text(x - 2, top + HEAD - 8, title.replace("`", ""), colours["ink"], 11, more=angle))
    y = top + HEAD
    group = ""
    for strategy in found:
        if strategy.group != group:
            group = strategy.group
            y += 8
            bold = 'font-weight="600"'
            colour = colours["ours"] if strategy.ours else colours["dim"]
            parts.append(text(6, y + 12, group, colour, 11, more=bold))
            parts.append(f'<path d="M6 {y + 16.5:.1f}H{WIDTH - MARGIN}" stroke="{colours["rule"]}" fill="none"/>')
            y += LINE
        name = strategy.title.replace("`", "").replace("orphanguard.", "")
        parts.append(text(12, y + 13, name, colours["ink"]))
        for number, key in enumerate(HEADLINE):
            parts.append(_cell(strategy.mark(key), NAME + CELL * number, y, colours))
        y += LINE
    y += 12
    for kind, words in WORDS.items():
        parts.append(_cell(Mark("", "", kind), 6, y, colours))
        parts.append(text(12 + CELL, y + 13, words, colours["ink"], 10.5))
        y += LINE
    parts.append(_cell(Mark("", "", "leak", promised=False), 6, y, colours))
    parts.append(text(12 + CELL, y + 13, "dashed: orphanguard says that this is not covered", colours["ink"], 10.5))
    y += LINE + 6
    return svg(WIDTH, y, parts, colours, "Which strategies leave orphans, by fault")


def svg(width: float, height: float, parts: list[str], colours: dict[str, str], title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="{colours["paper"]}"/>\n{body}\n</svg>\n'
    )

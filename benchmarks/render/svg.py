"""What the pictures share: their colours, light and dark, and SVG."""

from __future__ import annotations

from html import escape

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


def text(x: float, y: float, text: str, colour: str, size: float = 11, *, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{escape(text)}</text>'


def heading(title: str, about: str, colours: dict[str, str]) -> list[str]:
    """What is below begins at 44."""
    return [
        text(6, 18, title, colours["ink"], 15, more='font-weight="600"'),
        text(6, 35, about, colours["dim"], 10.5),
    ]


def svg(width: float, height: float, parts: list[str], colours: dict[str, str], title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="{FONT}" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="{colours["paper"]}"/>\n{body}\n</svg>\n'
    )

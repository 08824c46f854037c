"""What each file with a table or a picture should be."""

from __future__ import annotations

from ..common.host import RESULTS, ROOT
from ..matrix.rows import ROWS
from . import cost_picture, cost_tables, matrix_picture, matrix_tables
from .svg import DARK, LIGHT

TEXTS = "docs/guarantees.md", "benchmarks/README.md"
MATRIX = RESULTS / "matrix"
GROUPS = {"ends": "fault", "children": "child", "early": "early"}


def sections(found: list[matrix_tables.Measured], costs: cost_tables.Costs) -> dict[str, str]:
    makers = [cost_tables.about]
    if costs.counts():
        makers += [cost_tables.by_count, cost_tables.by_size, cost_tables.each]
    return {
        "costs": "\n".join(make(costs) for make in makers),
        **{name: cost_tables.ratios(costs, name) for name in costs.ratios},
        "headline": matrix_tables.matrix(found, list(matrix_tables.HEADLINE), matrix_tables.HEADLINE),
        "about": matrix_tables.about(found) + "\n",
        "claims": matrix_tables.claims(found),
        "legend": matrix_tables.LEGEND,
        "times": matrix_tables.times(found),
        "crossed": matrix_tables.crossed(found),
        "reasons": matrix_tables.reasons(found),
        **{
            name: matrix_tables.matrix(found, [key for key, row in ROWS.items() if row.group == group])
            for name, group in GROUPS.items()
        },
    }


def fill(text: str, parts: dict[str, str]) -> str:
    """Replaces what is between ``<!-- measured: NAME -->`` and ``<!-- end -->``."""
    for name, content in parts.items():
        begin, end = f"<!-- measured: {name} -->\n", "<!-- end -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            _, found, after = rest.partition(end)
            if not found:
                raise ValueError(f"{begin.strip()} has no {end}")
            text = f"{before}{begin}{content}{end}{after}"
    return text


def outputs(found: list[matrix_tables.Measured]) -> dict[str, str]:
    """What each file should be."""
    costs = cost_tables.Costs(RESULTS)
    parts = sections(found, costs)
    made = {name: fill((ROOT / name).read_text(), parts) for name in TEXTS}
    for theme, colours in {"light": LIGHT, "dark": DARK}.items():
        made[f"docs/matrix-{theme}.svg"] = matrix_picture.picture(found, colours)
        if costs.counts():
            made[f"docs/costs-{theme}.svg"] = cost_picture.picture(costs, colours)
    return made

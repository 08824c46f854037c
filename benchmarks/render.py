"""Makes the tables of docs/guarantees.md and benchmarks/README.md, and the pictures, from what was measured.

``--write`` writes them; ``--check`` fails, and says where, if they are not what the results say.
"""

from __future__ import annotations

import argparse
import sys

from . import cost_tables, pictures, tables
from .matrix import RESULTS
from .rows import ROWS
from .trial import ROOT

TEXTS = "docs/guarantees.md", "benchmarks/README.md"
COSTS = RESULTS.parent
GROUPS = {"ends": "fault", "children": "child", "early": "early"}


def sections(found: list[tables.Strategy], costs: cost_tables.Costs) -> dict[str, str]:
    makers = [cost_tables.about]
    if costs.counts():
        makers += [cost_tables.by_count, cost_tables.by_size, cost_tables.each]
    return {
        "costs": "\n".join(make(costs) for make in makers),
        **{name: cost_tables.ratios(costs, name) for name in costs.ratios},
        "headline": tables.matrix(found, list(tables.HEADLINE), tables.HEADLINE),
        "about": tables.about(found) + "\n",
        "claims": tables.claims(found),
        "legend": tables.LEGEND,
        "times": tables.times(found),
        "crossed": tables.crossed(found),
        "reasons": tables.reasons(found),
        **{
            name: tables.matrix(found, [key for key, row in ROWS.items() if row.group == group])
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


def outputs(found: list[tables.Strategy]) -> dict[str, str]:
    """What each file should be."""
    costs = cost_tables.Costs(COSTS)
    parts = sections(found, costs)
    made = {name: fill((ROOT / name).read_text(), parts) for name in TEXTS}
    for theme, colours in {"light": pictures.LIGHT, "dark": pictures.DARK}.items():
        made[f"docs/matrix-{theme}.svg"] = pictures.matrix(found, colours)
        if costs.counts():
            made[f"docs/costs-{theme}.svg"] = cost_tables.picture(costs, colours)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    wrong = []
    found = tables.read(RESULTS)
    for name, content in outputs(found).items():
        path = ROOT / name
        if path.exists() and path.read_text() == content:
            continue
        wrong.append(name)
        if arguments.write:
            path.write_text(content)
    if arguments.check:
        for name in wrong:
            print(f"{name} is not what benchmarks/results says: python -m benchmarks.render --write", file=sys.stderr)
        return bool(wrong)
    for line in tables.unclean(found):
        print(f"NOT AS PROMISED: {line}")
    print("written:", ", ".join(wrong) or "nothing, all is as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())

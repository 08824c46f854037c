"""Makes the tables of docs/guarantees.md and benchmarks/README.md, and the pictures, from what was measured.

``--write`` writes them; ``--check`` fails, and says where, if they are not what the results say.
"""

from __future__ import annotations

import argparse
import sys

from ..common.host import ROOT
from . import matrix_tables
from .files import MATRIX, outputs


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    wrong = []
    found = matrix_tables.read(MATRIX)
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
    for line in matrix_tables.unclean(found):
        print(f"NOT AS PROMISED: {line}")
    print("written:", ", ".join(wrong) or "nothing, all is as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())

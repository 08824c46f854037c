"""Lists what README, CONTRIBUTING and docs/ cite and what is not in the tree. Exits with 1 if there is anything.

Looked at: tests (`test_file`, `test_file::test_name`, `test_name`), files below csrc, src, tests, tools, docs, demo and
benchmarks, file names inside a code block, and links with their headings. A test's file may be in any folder of tests/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
FUNCTIONS = {name for text in TESTS.values() for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
FOLDERS = "csrc|src|tests|tools|docs|demo|benchmarks"


def tests(text: str) -> list[str]:
    cited = re.findall(r"`(test_\w+)(?:::(test_\w+))?`", text)
    return [
        f"{first}::{second}" if second else first
        for first, second in cited
        if not (f"def {second}(" in TESTS.get(first, "") if second else first in TESTS or first in FUNCTIONS)
    ]


def files(text: str) -> list[str]:
    cited = re.findall(rf"(?<![\w./:-])((?:{FOLDERS})/[\w./-]*\w(?:\.\w+)?)", text)
    return [name for name in cited if not (ROOT / name).exists()]


def listed(text: str) -> list[str]:
    """Of a tree in a code block: names of C and shell files, wherever they are."""
    there = {path.name for folder in ("csrc", "tools", "tests") for path in (ROOT / folder).rglob("*")}
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    return [name for name in re.findall(r"[\w-]+\.(?:c|h|sh)\b", blocks) if name not in there]


def links(path: Path, text: str) -> list[str]:
    missing = []
    for link in re.findall(r'(?:\]\(|(?:src|srcset)=")([^)"\s]+)', text):
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        if "://" in link:
            continue
        lines = target.read_text().splitlines() if heading and target.exists() else []
        headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines}
        if not target.exists() or (heading and heading not in headings):
            missing.append(link)
    return missing


if __name__ == "__main__":
    contents = {path: path.read_text() for path in TEXTS}
    found = {p: {*tests(t), *files(t), *listed(t), *links(p, t)} for p, t in contents.items()}
    for path, names in found.items():
        print("".join(f"{path.relative_to(ROOT)}: {name}\n" for name in sorted(names)), end="")
    sys.exit(any(found.values()))

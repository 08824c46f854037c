"""Lists what README, CONTRIBUTING and docs/ cite and what is not in the tree. Exits with 1 if there is anything.

Looked at: tests (`test_file`, `test_file::test_name`, `test_name`; a file may be given with its folder of tests/),
files below csrc, src and so on, names of C files in a code block, and links with their headings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = {f"{path.parent.name}/{path.stem}": path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
PLACES = [
    (name, file) for file, text in TESTS.items() for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.M)
]


def tests(text: str) -> list[str]:
    missing = []
    for file, name in re.findall(r"`((?:\w+/)?test_\w+)(?:::(test_\w+))?`", text):
        files = [found for found in TESTS if f"/{found}".endswith(f"/{file}")]
        places = [place for function, place in PLACES if function == (name or file)]
        if not (set(files) & set(places) if name else files or places):
            missing.append(f"{file}::{name}, which is in {places}" if name else file)
    return missing


def files(text: str) -> list[str]:
    cited = re.findall(r"(?<![\w./:-])((?:csrc|src|tests|tools|docs|demo|benchmarks)/[\w./-]*\w)", text)
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    there = {path.name for folder in ("csrc", "tools", "tests") for path in (ROOT / folder).rglob("*")}
    listed = re.findall(r"[\w-]+\.(?:c|h|sh)\b", blocks)
    return [name for name in cited if not (ROOT / name).exists()] + [name for name in listed if name not in there]


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
    found = {path: {*tests(text), *files(text), *links(path, text)} for path, text in contents.items()}
    for path, names in found.items():
        print("".join(f"{path.relative_to(ROOT)}: {name}\n" for name in sorted(names)), end="")
    sys.exit(any(found.values()))

#!/usr/bin/env python3
"""Checks that the arrows between files only go down: each file uses only what is in lower layers.

    tools/arrows.py csrc/shim csrc/supervisor src

A directory of C files has a header of the same name. The header's sections, ``/* --- name.c``, name the layers, lowest
first. Symbols tell which file uses which: each file is compiled, and ``nm`` lists what its object defines and needs.

In a directory of Python packages, `LAYERS` names the layers, and the imports tell. No circle is allowed within a layer
either. Imports for type checkers alone, below ``if TYPE_CHECKING:``, are not arrows: nothing happens at run time.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

SECTION = re.compile(r"^/\* --- (\w+\.c)\b", re.MULTILINE)


def sections(header: Path) -> list[str]:
    return SECTION.findall(header.read_text())


def compiled(source: Path, into: Path) -> Path:
    """The object of ``source``. Headers are looked for in all directories beside its own, and in the one above."""
    above = source.parent.parent
    include = [f"-I{path}" for path in (above, *sorted(above.iterdir())) if path.is_dir()]
    target = into / f"{source.stem}.o"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-std=gnu11", *include, "-c", str(source), "-o", str(target)], check=True)
    return target


def symbols(target: Path) -> tuple[set[str], set[str]]:
    """What an object defines for others, and what it needs from others."""
    defined: set[str] = set()
    needed: set[str] = set()
    listing = subprocess.run(["nm", "-P", "-g", str(target)], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        name, kind = line.split()[:2]
        (needed if kind in "Uvw" else defined).add(name)
    return defined, needed


def wrong_order(directory: Path, order: list[str]) -> list[str]:
    """Files without a layer, layers without a file, and sections of other headers that come in another order."""
    files = {path.name for path in directory.glob("*.c")}
    found = [f"{directory / name} has no section in the header" for name in sorted(files - set(order))]
    found += [f"{directory / name} is a section of the header, but no file" for name in order if name not in files]
    for header in sorted(directory.glob("*.h")):
        names = sections(header)
        if names != [name for name in order if name in names]:
            found.append(f"{header}: its sections are not in the order of the layers")
    return found


def wrong_in_c(directory: Path) -> list[str]:
    """Each arrow of a C file that does not go down, as a line of text."""
    order = sections(directory / f"{directory.name}.h")
    found = wrong_order(directory, order)
    if found:
        return found
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: symbols(compiled(directory / name, Path(folder))) for name in order}
    home = {symbol: name for name, (defined, _) in objects.items() for symbol in defined}
    for at, name in enumerate(order):
        for symbol in sorted(objects[name][1]):
            target = home.get(symbol, name)
            if order.index(target) > at:
                found.append(f"{directory / name} uses {symbol}() of {target}, which is in a layer above it")
    return found


# --- Python

#: Lowest first. A module may import from its own layer and from those before it.
LAYERS = ("orphanguard._bin", "orphanguard._core", "orphanguard._stdlib", "orphanguard")


def layer(module: str) -> int:
    return next(i for i, prefix in enumerate(LAYERS) if f"{module}.".startswith(f"{prefix}."))


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, module: str, known: set[str]) -> set[str]:
    """The ``known`` modules that ``module`` imports at run time, at its top or within a function."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found.update({source} if names - known else names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found & known - {module}


def wrong_in_python(root: Path) -> list[str]:
    """Each import that goes up, and each module that is in a circle or leads into one, as a line of text."""
    paths = {module_name(path, root): path for path in root.rglob("*.py")}
    graph = {module: imports(path, module, set(paths)) for module, path in paths.items()}
    found = [f"{a} imports {b}, which is above it" for a in graph for b in sorted(graph[a]) if layer(b) > layer(a)]
    left = dict(graph)
    while free := [module for module in left if not left[module] & left.keys()]:
        for module in free:
            del left[module]
    return found + [f"{a}: a circle with {', '.join(sorted(left[a] & left.keys()))}" for a in sorted(left)]


def main(arguments: list[str]) -> int:
    found = []
    for directory in map(Path, arguments):
        is_c = (directory / f"{directory.name}.h").exists()
        found += wrong_in_c(directory) if is_c else wrong_in_python(directory)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One row of one strategy, many trials: a cell of the tables. And the files that keep the cells.

A cell is what is in the tables: survivors and early deaths over so many trials, and the time from the parent's own
death to the last child's.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..common.host import commit, machine
from ..strategies.catalogue import STRATEGIES
from .rows import SHORT, Patience, Row, perform
from .trial import Failed, Refused

Cell = dict[str, Any]


def host(name: str) -> dict[str, Any]:
    """What the cells of a strategy depend on. They are measured anew where it differs."""
    strategy = STRATEGIES[name]
    versions = {}
    for need in strategy.needs:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            package = strategy.package or need
            versions[package] = importlib.metadata.version(package)
    found = {**machine(), "versions": versions, "uid": os.geteuid()}
    if strategy.ours:
        found["commit"] = commit()
    return found


class Results:
    """One file a strategy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def open(self, name: str) -> dict[str, Any]:
        path = self.directory / f"{name}.json"
        here = host(name)
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            if found["host"] == here:
                return found
        return {"strategy": name, "missing": "", "host": here, "cells": {}}

    def save(self, result: dict[str, Any]) -> None:
        path = self.directory / f"{result['strategy']}.json"
        new = path.with_suffix(".new")
        cells = ",\n".join(f"  {json.dumps(key)}: {json.dumps(cell)}" for key, cell in result["cells"].items())
        about = json.dumps({**result, "cells": {}}, indent=1)
        new.write_text(about.replace('"cells": {}', f'"cells": {{\n{cells}\n }}' if cells else '"cells": {}') + "\n")
        new.replace(path)  # an interrupted run leaves the file whole


def measure(name: str, row: Row, trials: int, scratch: Path) -> Cell:
    begun = time.monotonic()
    cell: Cell = {"trials": 0, "started": 0, "survivors": 0, "early": 0, "waits": 0, "ms": []}
    patience = Patience()
    strays: set[str] = set()
    for _ in range(trials):
        try:
            outcome = perform(name, row, scratch, patience)
        except Refused as error:
            cell["refused"] = str(error)
            break  # it always will
        except Failed as error:
            cell.setdefault("failed", []).append(str(error))
            if len(cell["failed"]) == 3:
                break
            continue
        if outcome.waits and cell["waits"] == cell["trials"]:  # so far always
            patience = replace(patience, parent=SHORT)
        if outcome.survivors and cell["survivors"] == 0 == cell["trials"]:
            patience = replace(patience, child=max(SHORT, 2 * outcome.others))
        cell["trials"] += 1
        cell["started"] += outcome.started
        cell["survivors"] += outcome.survivors
        cell["early"] += outcome.early
        cell["waits"] += outcome.waits
        if outcome.unarmed is not None:
            cell["unarmed"] = cell.get("unarmed", 0) + outcome.unarmed
        if outcome.late is not None:
            cell["ms"].append(round(outcome.late * 1000, 2))
        strays.update(outcome.strays)
    if strays:
        cell["strays"] = sorted(strays)[:3]
    cell["seconds"] = round(time.monotonic() - begun, 2)
    cell["date"] = time.strftime("%Y-%m-%d %H:%M")
    return cell

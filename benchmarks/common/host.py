"""Where the checkout is, and what every result depends on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> dict[str, Any]:
    models = [
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "machine": platform.machine(),
        "cpu": models[0] if models else "",
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The last commit that changed what is measured; with ``+`` where the files differ from it."""
    if shutil.which("git") is None:
        return "unknown"

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    last = git("log", "-1", "--format=%h", "--", "src", "csrc")
    return last + ("+" if git("status", "-s", "src", "csrc") else "") if last else "unknown"  # not a clone, or not ours


def host() -> dict[str, Any]:
    """The machine and the commit, and what else a time depends on."""
    now = {"load": round(os.getloadavg()[0], 2), "date": time.strftime("%Y-%m-%d %H:%M")}
    return {**machine(), **now, "commit": commit()}

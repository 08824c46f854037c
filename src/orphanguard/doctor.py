"""``orphanguard doctor``: what this host can guarantee, what it can't, and why."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from ._probe import (
    Finding,
    circumstances,
    containment,
    global_root,
    launcher,
    lifeline,
    pdeathsig,
    pidfds,
    privileges,
)

USAGE = """\
Usage: orphanguard doctor [--json]
Tries what guarding takes, on this host and as this user, and says what works and why not. Exit status: 0 if children
can be guarded, 1 if not. Readers of the JSON must ignore members that they do not know.
"""


def examine() -> list[Finding]:
    """What was found, in the order in which it is told."""
    trees = [containment(mode) for mode in ("subreaper", "cgroup", "pidns")]
    return [*circumstances(), global_root(), *lifeline(), pdeathsig(), *pidfds(), launcher(), *trees, *privileges()]


def main(arguments: list[str]) -> int:
    if arguments in (["--help"], ["-h"]):
        print(USAGE, end="")
        return 0
    if arguments not in ([], ["--json"]):
        print(f"orphanguard doctor: no such argument: {arguments[0]!r}; see --help", file=sys.stderr)
        return 125
    findings = examine()
    guarded = all(finding.ok for finding in findings if finding.needed)
    if arguments:
        print(json.dumps({"guarded": guarded, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = {True: "yes", False: "NO", None: ""}[finding.ok]
            print(f"{finding.name:{width}}  {mark:3}  {finding.why}".rstrip())
        print("Children can be guarded here." if guarded else "Children can NOT be guarded here.")
    return 0 if guarded else 1

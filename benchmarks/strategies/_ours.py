"""What the files of orphanguard's own share.

First what it promises nothing about, by row, with the reason. docs/promise.md says the same.
"""

from __future__ import annotations

import os

from orphanguard._bin import RUN

_ONE = "what a child starts by itself is not covered"
GRANDCHILDREN = {"grandchild": _ONE, "setsid": _ONE, "daemon": _ONE}
PARENTS_OWN_DOING = {
    "early-exec": "the program that held the handles is gone: children die",
    "early-close": "closing the lifeline's write end is its signal: children die",
}
NOT_CLAIMED = GRANDCHILDREN | PARENTS_OWN_DOING

_NOBODY = "nobody is left who knows what the command has started"
SUPERVISOR = {"supervisor+setsid": _NOBODY, "both+setsid": _NOBODY}


def run(tree: str, command: list[str]) -> list[str]:
    """The command line of orphanguard-run, which is told whose child it is."""
    return [RUN, f"--tree={tree}", f"--parent-pid={os.getpid()}", "--", *command]

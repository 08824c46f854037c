"""The answers to "how do I keep my children from becoming orphans", one file each.

A strategy's file has

- ``TITLE``: what it is called in the tables, and ``CLAIMS``: what is said of it, and by whom;
- ``start(count, child)``: starts that many children, in the parent, and returns handles that have ``is_alive()`` or
  ``poll()``, or none. ``child.target`` is for a process, ``child.command`` for a program;
- ``prepare()`` and ``finish()``, if there is something to do before and after the first start: in the parent's main
  thread, whichever thread starts the children; ``stop()``, if it is meant for a ``with`` block: its end;
- ``SLOW``, if it looks only now and then: seconds within which it acts;
- ``NEEDS``, if anything: modules (``"psutil"``) and programs (``"tini:"``) without which it is missing;
- ``HELPER``, if it puts a process between: a word of that one's command line (it is what "supervisor" means in a row);
- ``FORK_SERVER``, if its children are a fork server's;
- ``ORPHANGUARD``, if it is ours, and then ``NOT_CLAIMED``: the rows in which it promises nothing, and why.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

#: In the order of the tables. Each is a file here.
NAMES = {
    "Nothing at all": [
        "multiprocessing_fork",
        "multiprocessing_spawn",
        "multiprocessing_forkserver",
        "multiprocessing_pool",
        "concurrent_futures",
        "subprocess_popen",
    ],
    "Code that runs in the parent as it ends": [
        "daemon_flag",
        "atexit_terminate",
        "sigterm_after",
        "sigterm_before",
        "killpg_handler",
        "psutil_tree",
    ],
    "Code that runs in the child": ["getppid_polling", "pipe_eof_thread", "sentinel_thread"],
    "The kernel's parent-death signal": [
        "prctl_preexec",
        "ctypes_preexec",
        "pdeathsig_target",
        "pdeathsig_forkserver",
        "billiard_process",
        "setpriv_pdeathsig",
    ],
    "Programs in between": ["unshare_kill_child", "tini_subreaper", "tini_pdeathsig", "bwrap_die"],
    "Libraries": [
        "loky_executor",
        "processkit_default",
        "processkit_flag",
        "running_process_peer",
        "running_process_contained",
        "pyreap_popen",
        "caoe_install",
        "torch_processes",
    ],
    "orphanguard": [
        "our_fork",
        "our_spawn",
        "our_forkserver",
        "our_pool",
        "our_executor",
        "our_popen",
        "our_preexec_hook",
        "our_preexec_fn",
        "our_run",
        "our_run_subreaper",
        "our_run_cgroup",
        "our_run_pidns",
        "our_tree_subreaper",
        "our_tree_cgroup",
        "our_tree_pidns",
        "our_tree_fork",
        "our_tree_spawn",
        "our_tree_forkserver",
    ],
}


def names() -> list[str]:
    return [name for group in NAMES.values() for name in group]


def load(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def missing(strategy: ModuleType) -> str:
    """What it needs and this host has not; empty if nothing."""
    import importlib.util
    import shutil

    absent = []
    for need in getattr(strategy, "NEEDS", ()):
        if need.endswith(":"):
            found = shutil.which(need[:-1]) is not None
        else:
            found = importlib.util.find_spec(need) is not None
        if not found:
            absent.append(need.rstrip(":"))
    return ", ".join(absent)


@functools.cache
def field_of(name: str, field: str) -> Any:
    """What its file says, without importing it: what it needs may be missing."""
    import ast

    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == field for to in node.targets):
            return ast.literal_eval(node.value)
    return None

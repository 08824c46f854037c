"""All strategies, one row each, in the order of the tables. A new strategy is a row here, and a file if none does it.

`Strategy` says what the fields mean.
"""

from __future__ import annotations

import sys
from functools import partial

from ._strategy import Strategy

# What orphanguard promises nothing about, by row, with the reason. docs/promise.md says the same.
_BY_ITSELF = "what a child starts by itself is not covered"
GRANDCHILDREN = {"grandchild": _BY_ITSELF, "setsid": _BY_ITSELF, "daemon": _BY_ITSELF}
DIRECT = GRANDCHILDREN | {
    "early-exec": "the program that held the handles is gone: children die",
    "early-close": "closing the lifeline's write end is its signal: children die",
}
EXECUTOR = DIRECT | {"early-sibling": "concurrent.futures ends all workers when one dies: BrokenProcessPool"}
PDEATHSIG = GRANDCHILDREN | {
    "setuid": "executing it clears PDEATHSIG, the only layer",
    "uid": "changing it clears PDEATHSIG, the only layer",
    "early-uid": "the kernel checks PDEATHSIG with the rights that the parent dies with",
    "early-thread": "refused, not started",
}
_NOBODY = "nobody is left who knows what the command has started"
BELOW = {"supervisor+setsid": _NOBODY, "both+setsid": _NOBODY}
MISSED = {"starting": "a caller that dies while Python starts is missed, unless its pid is said: --parent-pid=$$"}

# Claims of several rows.
KERNEL = "the kernel kills the child when the parent dies"
TERM = "`kill PARENT` ends children and parent"
NEVER = "never outlives its parent process, never dies early"
WORKERS = "workers never outlive their parent process, never die early"
TREE = "ends everything below, as long as the supervisor lives"
COMMAND = "ends everything below the command, as long as the supervisor lives"
ROOT = "the same, and who became root"
ALL = "ends everything, the supervisor's death included"

ours = partial(Strategy, library="orphanguard", not_claimed=DIRECT)
supervised = partial(Strategy, helper="orphanguard-run", not_claimed=BELOW)
our_run = partial(supervised, file="orphanguard_run")
our_tree = partial(supervised, library="orphanguard")
processkit = partial(Strategy, file="processkit_group", needs=["processkit"], package="processkit-py")
running_process = partial(Strategy, needs=["running_process"], package="running-process")


def wrapper(title: str, claims: str, *command: str) -> Strategy:
    """A program that starts the command and stays between."""
    return Strategy(title, claims, "popen", needs=[f"{command[0]}:"], helper=command[0], before=command)


GROUPS = {
    "Nothing at all": {
        "multiprocessing_fork": Strategy("`multiprocessing`, fork", "nothing", "process", method="fork"),
        "multiprocessing_spawn": Strategy("`multiprocessing`, spawn", "nothing", "process", method="spawn"),
        "multiprocessing_forkserver": Strategy(
            "`multiprocessing`, forkserver", "nothing", "process", method="forkserver"
        ),
        "multiprocessing_pool": Strategy(
            "`multiprocessing.Pool`, fork", "its workers are daemonic: they end with the parent", "pool"
        ),
        "concurrent_futures": Strategy("`ProcessPoolExecutor`, fork", "nothing", "executor", method="fork"),
        "subprocess_popen": Strategy("`subprocess.Popen`", "nothing", "popen"),
    },
    "Code that runs in the parent as it ends": {
        # multiprocessing terminates such children when the parent's interpreter ends in good order.
        "daemon_flag": Strategy(
            "`daemon=True`",
            "“daemon processes are terminated when the parent exits”",
            "process",
            method="fork",
            daemon=True,
        ),
        "atexit_terminate": Strategy("`atexit` handler", "clean-up code that “always runs”"),
        "sigterm_after": Strategy("SIGTERM handler, set after", TERM),
        "sigterm_before": Strategy("SIGTERM handler, set before", TERM),
        "killpg_handler": Strategy("SIGTERM handler with `killpg`", "`kill` of any one of them ends the whole family"),
        "psutil_tree": Strategy("psutil tree kill", "kills children, and theirs", needs=["psutil"]),
    },
    "Code that runs in the child": {
        "getppid_polling": Strategy(
            "`getppid` each second", "the child notices that it is an orphan, and exits", slow=1.2
        ),
        "pipe_eof_thread": Strategy("thread that waits for EOF", "the kernel closes the parent's end, however it dies"),
        "sentinel_thread": Strategy(
            "`parent_process().sentinel`", "the standard library's own: ready when the parent has ended"
        ),
    },
    "The kernel's parent-death signal": {
        "prctl_preexec": Strategy("`preexec_fn`: python-prctl", KERNEL, needs=["prctl"], package="python-prctl"),
        "ctypes_preexec": Strategy("`preexec_fn`: ctypes `prctl`", KERNEL),
        "pdeathsig_target": Strategy("PDEATHSIG in target, fork", KERNEL, "pdeathsig_target", method="fork"),
        "pdeathsig_forkserver": Strategy(
            "PDEATHSIG in target, forkserver", KERNEL, "pdeathsig_target", method="forkserver"
        ),
        "billiard_process": Strategy("billiard, `set_pdeathsig`", "workers die with the parent", needs=["billiard"]),
        # Executes the command: no process stays between.
        "setpriv_pdeathsig": Strategy(
            "`setpriv --pdeathsig`",
            "sets the parent-death signal, then executes",
            "popen",
            needs=["setpriv:"],
            before=["setpriv", "--pdeathsig", "KILL", "--"],
        ),
    },
    "Programs in between": {
        # A pid namespace that ends with unshare itself.
        "unshare_kill_child": wrapper(
            "`unshare --pid --kill-child`",
            "the child is killed when unshare is",
            *("unshare", "--pid", "--fork", "--kill-child", "--"),
        ),
        # A subreaper, as containers use it.
        "tini_subreaper": wrapper("`tini -s`", "reaps zombies and forwards signals", "tini", "-s", "--"),
        "tini_pdeathsig": wrapper(
            "`tini -s -p SIGTERM`", "forwards SIGTERM when its parent dies", "tini", "-s", "-p", "SIGTERM", "--"
        ),
        # A pid namespace that ends with bwrap's parent.
        "bwrap_die": wrapper(
            "`bwrap --die-with-parent`",
            "kills all of the sandbox when bwrap's parent dies",
            *("bwrap", "--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/", "--"),
        ),
    },
    "Libraries": {
        # As joblib and scikit-learn use it.
        "loky_executor": Strategy(
            "loky executor",
            "a “robust” executor; of a parent that dies it says nothing",
            "executor",
            library="loky",
            needs=["loky"],
        ),
        "processkit_default": processkit(
            "processkit-py",
            "“kernel-backed no-orphan guarantee”; “abrupt owner-death coverage is platform-specific”",
        ),
        "processkit_flag": processkit(
            "processkit-py, its death flag",
            "the direct child dies with a hard-killed parent: PDEATHSIG, “best-effort”",
            flag=True,
        ),
        "running_process_peer": running_process("running-process", "nothing for a parent that is killed"),
        "running_process_contained": running_process(
            "running-process, contained",
            "“all children killed on exit, even on crash”; orphans are found afterwards",
        ),
        # A Python process between, for each child; it polls getppid each second.
        "pyreap_popen": Strategy(
            "pyreap",
            "“if the parent process dies the child process will also be reaped”",
            "popen",
            library="reap",
            needs=["reap"],
            package="pyreap",
            helper="reap/__init__.py",
            slow=1.2,
        ),
        "caoe_install": Strategy(
            "CaoE", "“kill all children spawned by the process when it dies”", needs=["caoe"], package="CaoE"
        ),
        "torch_processes": Strategy(
            "torch.multiprocessing", "workers are interrupted when the parent dies", needs=["torch"]
        ),
    },
    "orphanguard": {
        "our_fork": ours("`orphanguard.Process`, fork", NEVER, "process", method="fork"),
        "our_spawn": ours("`orphanguard.Process`, spawn", NEVER, "process", method="spawn"),
        "our_forkserver": ours("`orphanguard.Process`, forkserver", NEVER, "process", method="forkserver"),
        "our_pool": ours("`orphanguard.Pool`, fork", WORKERS, "pool"),
        "our_executor": ours(
            "`orphanguard.ProcessPoolExecutor`, fork", WORKERS, "executor", method="fork", not_claimed=EXECUTOR
        ),
        "our_popen": ours("`orphanguard.Popen`", NEVER, "popen"),
        "our_preexec_hook": Strategy("`orphanguard.PreexecFn()`", NEVER, not_claimed=DIRECT),
        "our_preexec_fn": Strategy(
            "`orphanguard.preexec_fn`", "dies with its parent; main thread only, or it refuses", not_claimed=PDEATHSIG
        ),
        # As one types it: Python starts, and becomes orphanguard-run.
        "our_run": supervised(
            "`orphanguard run`",
            COMMAND,
            "popen",
            before=[sys.executable, "-m", "orphanguard", "run", "--"],
            not_claimed=BELOW | MISSED,
        ),
        "our_run_subreaper": our_run("`orphanguard-run --parent-pid`, subreaper", COMMAND, tree="subreaper"),
        "our_run_cgroup": our_run("`orphanguard-run --parent-pid`, cgroup", ROOT, tree="cgroup"),
        "our_run_pidns": our_run("`orphanguard-run --parent-pid`, pidns", ALL, tree="pidns", not_claimed={}),
        "our_tree_subreaper": our_tree("`orphanguard.Popen(tree=…)`, subreaper", TREE, "popen", tree="subreaper"),
        "our_tree_cgroup": our_tree("`orphanguard.Popen(tree=…)`, cgroup", ROOT, "popen", tree="cgroup"),
        "our_tree_pidns": our_tree("`orphanguard.Popen(tree=…)`, pidns", ALL, "popen", tree="pidns", not_claimed={}),
        "our_tree_fork": our_tree("`orphanguard.Process(tree=True)`, fork", TREE, "process", method="fork", tree=True),
        "our_tree_spawn": our_tree(
            "`orphanguard.Process(tree=True)`, spawn", TREE, "process", method="spawn", tree=True
        ),
        "our_tree_forkserver": our_tree(
            "`orphanguard.Process(tree=True)`, forkserver", TREE, "process", method="forkserver", tree=True
        ),
    },
}

STRATEGIES = {name: strategy for group in GROUPS.values() for name, strategy in group.items()}
for _name, _strategy in STRATEGIES.items():
    _strategy.file = _strategy.file or _name

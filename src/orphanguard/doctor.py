"""``orphanguard doctor``: what this host can guarantee, what it can't, and why.

Each answer comes from trying: nothing is guessed from a version. The trials leave no process and no fd behind. Needs
what starting a child needs, and the C programs of ``_bin``; what is missing becomes an answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from ._bin import LAUNCH, RUN
from ._core import arming, lifelines, pidfds
from ._core.containment import CONTAINMENTS
from ._core.errors import StatusLostWarning
from ._core.guard import FLAT
from ._core.supervisor import blamed
from .subprocess import Popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core.containment import Containment

USAGE = """\
Usage: orphanguard doctor [--json]
Tries what guarding takes, on this host and as this user, and says what works and why not. Exit status: 0 if children
can be guarded, 1 if not. Readers of the JSON must ignore members that they do not know.
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool | None  #: None: for information only
    why: str = ""  #: the refusal in the kernel's words, or what the answer means
    needed: bool = False  #: without it no child is started


def lifeline() -> list[Finding]:
    """Opens a lifeline: whether that works, and whether the lifeline hangs on a tether."""
    held, _gives_back = lifelines.held()
    try:
        lifelines.open(held, pdeathsig=False)
    except OSError as error:
        return [Finding("lifeline", False, str(error), needed=True)]
    why = f"{os.strerror(held.flat)}: {FLAT}" if held.flat else "whoever else starts processes at that moment"
    return [
        Finding("lifeline", True, "children die with this process, whichever thread starts them", needed=True),
        Finding("tether", not held.flat, why),
    ]


def pdeathsig() -> Finding:
    """Opens a lifeline for a forked child, which includes a rehearsal of PR_SET_PDEATHSIG in the main thread."""
    held, _gives_back = lifelines.held()
    try:
        lifelines.open(held, pdeathsig=True)
    except OSError as error:
        return Finding("pdeathsig", False, str(error), needed=True)  # the main thread starts no child without it
    main = arming.is_main_thread()
    return Finding("pdeathsig", main, "the second layer" if main else "not in this thread, which is not the main one")


def global_root() -> Finding:
    """Whether the kernel lets a lifeline's signal reach children of any uid."""
    if arming.is_global_root():
        return Finding("global root", True, "a lifeline reaches children whatever uids they take")
    why = "root of this user namespace alone" if os.geteuid() == 0 else "an ordinary user"
    return Finding("global root", False, f"{why}: children that take other uids by themselves (sudo, setpriv) escape")


def launcher() -> Finding:
    """Executes orphanguard-launch, which ``Popen(user=)`` uses. Without it, a copy of the parent's memory is made."""
    try:
        with Popen([LAUNCH], stdin=subprocess.DEVNULL):
            pass
    except OSError as error:
        return Finding("user= launcher", False, f"{error}; Popen(user=) copies the memory of its parent instead")
    return Finding("user= launcher", True, "Popen(user=) copies no memory")


def identity() -> list[Finding]:
    """Starts a child and reaps it by its pid, as other code may do: whether the kernel then keeps the exit status."""
    try:
        os.close(pidfds.open(os.getpid()))
        with warnings.catch_warnings(record=True) as lost:
            warnings.simplefilter("always", StatusLostWarning)
            with Popen(["/bin/sh", "-c", ":"]) as program:
                os.waitpid(program.pid, 0)
    except OSError as error:
        return [Finding("pidfd", False, str(error), needed=True)]
    kept = not lost
    return [
        Finding("pidfd", True, "children are waited for and signalled by identity", needed=True),
        Finding("status of reaped", kept, "" if kept else "lost if somebody else reaps a child (Linux 6.15 keeps it)"),
    ]


def containment(mode: Containment) -> Finding:
    """Runs a command under a supervisor with the containment ``mode``."""
    try:
        done = subprocess.run(
            [RUN, f"--tree={mode}", "--", RUN, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        return Finding(f"tree={mode}", False, str(blamed(error, RUN)))
    said = done.stderr.strip().removeprefix("orphanguard-run: ")
    return Finding(f"tree={mode}", done.returncode == 0, said if done.returncode else CONTAINMENTS[mode][0])


def circumstances() -> list[Finding]:
    """What the other answers depend on: kernel, user, seccomp, SIGCHLD."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    seccomp = {"0": "none", "1": "strict", "2": "filters are active"}.get(status.get("Seccomp", ""), "unknown")
    ignored = int(status.get("SigIgn", "0"), 16) >> (signal.SIGCHLD - 1) & 1
    return [
        Finding("kernel", None, f"Linux {os.uname().release}, {os.uname().machine}"),
        Finding("user", None, f"uid {os.getuid()}, effective {os.geteuid()}"),
        Finding("seccomp", None, seccomp),
        Finding("SIGCHLD", None, "ignored: children are reaped by the kernel" if ignored else "not ignored"),
    ]


def privileges() -> list[Finding]:
    """What may clear PDEATHSIG or keep signals from children. Needs the extra ``prctl`` (python-prctl)."""
    try:
        import prctl  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return [Finding("privileges", None, "not looked at: needs orphanguard[prctl]")]
    names = [name for name in prctl.ALL_CAP_NAMES if name != "last_cap"]
    held = [name for name in names if getattr(prctl.cap_effective, name)]
    return [
        Finding("capabilities", None, f"{len(held)} of {len(names)}: {' '.join(held)}" if held else "none"),
        Finding("no_new_privs", None, "set" if prctl.get_no_new_privs() else "not set"),
        Finding("securebits", None, f"{prctl.get_securebits():#x}"),
        Finding("subreaper", None, "this process is one" if prctl.get_child_subreaper() else "this process is none"),
    ]


def examine() -> list[Finding]:
    """All findings, in the order of the report."""
    trees = [containment(mode) for mode in CONTAINMENTS]
    return [*circumstances(), global_root(), *lifeline(), pdeathsig(), *identity(), launcher(), *trees, *privileges()]


def main(arguments: list[str]) -> int:
    """Prints the report. Returns 0 if children can be guarded, 1 if not, 125 for an unknown argument."""
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

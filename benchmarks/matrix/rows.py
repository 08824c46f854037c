"""The rows of the matrix: how the parent ends, what the child is, what must end no child. And one trial of a row."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from ..common.processes import doomed
from ..strategies.catalogue import STRATEGIES
from .child import KINDS
from .early import EARLY, Early
from .faults import FAULTS, Fault
from .trial import Failed, Refused, Trial

SURVIVES = 2.0  # seconds that a child may live on after its parent: a child that polls each second is in time
WAITS = 2.0  # seconds that the parent has to end
SHORT = 0.2  # seconds at least, where the first trial of a cell has shown that the survivors live on
LIVES = 0.15  # seconds in which an early death is seen; a ``slow`` strategy has its own
DOOMED = 10.0  # seconds more for processes that are killed already but have no processor to die on


@dataclass(frozen=True)
class Patience:
    """The seconds that the parent has to end, and then its children."""

    parent: float = WAITS
    child: float = SURVIVES


@dataclass(frozen=True)
class Row:
    key: str
    group: str  #: fault, child, early or cross
    title: str
    what: Fault | Early
    kind: str = "idle"


def _rows() -> list[Row]:
    rows = [Row(key, "fault", fault.title, fault) for key, fault in FAULTS.items()]
    rows += [Row(key, "child", kind.title, FAULTS["kill"], key) for key, kind in KINDS.items() if key != "idle"]
    rows += [Row(f"early-{key}", "early", early.title, early, early.kind) for key, early in EARLY.items()]
    # A supervisor is there for grandchildren in other sessions, so its death is shown with these.
    # All other pairs are measured only if asked for.
    rows += [
        Row(
            f"{name}+{key}",
            "fault" if fault.needs == "helper" and key == "setsid" else "cross",
            f"{fault.title}; {kind.title}",
            fault,
            key,
        )
        for name, fault in FAULTS.items()
        for key, kind in KINDS.items()
        if key != "idle" and name != "kill"
    ]
    return rows


ROWS = {row.key: row for row in _rows()}
assert len(ROWS) == len(_rows())


@dataclass
class Outcome:
    started: int
    survivors: int = 0
    early: int = 0
    waits: bool = False  #: the parent did not end
    late: float | None = None  #: seconds from the parent's own death to the last child's; None if one survives
    others: float = 0  #: the same for the children that did not survive
    unarmed: bool | None = None  #: whether the child that was held as it started was not armed; None: no child was held
    strays: list[str] = field(default_factory=list)  #: other processes of the strategy that were alive in the end


def not_applicable(row: Row, strategy: str) -> bool:
    needs = row.what.needs if isinstance(row.what, Fault) else ""
    return bool(needs) and not getattr(STRATEGIES[strategy], needs)


def impossible(row: Row) -> str:
    """Why this host cannot do it; empty if it can."""
    kind = KINDS[row.kind]
    root = kind.parent or (isinstance(row.what, Early) and row.what.root)
    if root and os.geteuid():
        return "needs root"
    if kind.parent == "nobody" and not shutil.which("setpriv"):
        return "needs setpriv"
    return row.what.host() if isinstance(row.what, Fault) else ""


def setuid_program(directory: Path) -> str:
    """A set-user-ID root copy of sleep. The directory, /tmp for example, must not be mounted nosuid."""
    program = directory / "sleep"
    if not program.exists():
        shutil.copy(str(shutil.which("sleep")), program)
        directory.chmod(0o755)
        program.chmod(0o4755)
    return str(program)


def perform(name: str, row: Row, scratch: Path, patience: Patience) -> Outcome:
    """Raises `Failed`, or `Refused` if the strategy would not start."""
    strategy = STRATEGIES[name]
    program = setuid_program(scratch) if KINDS[row.kind].parent == "nobody" else ""
    with Trial(name, row.kind, row.what.options, program) as trial:
        trial.helper = strategy.helper
        try:
            trial.ready()
        except Refused as refusal:
            if left := trial.left_after_refusal():
                raise Failed(f"{refusal}; but it left {', '.join(left)}") from refusal
            raise
        row.what.act(trial)
        outcome = Outcome(0)
        if isinstance(row.what, Early):
            _look_for_early_deaths(trial, outcome, max(LIVES, strategy.slow))
        _look_for_survivors(trial, outcome, patience)
        outcome.unarmed = trial.unarmed
    outcome.strays = trial.strays
    return outcome


def _look_for_early_deaths(trial: Trial, outcome: Outcome, seconds: float) -> None:
    trial.watch_deaths(trial.members, seconds)
    trial.pump(0)
    if trial.stranger:
        # The parent was to end its children: they may die, and so may the parent. The stranger must not.
        outcome.early = int(trial.stranger.died is not None)
    elif trial.parent.died is None:
        outcome.early = sum(member.died is not None for member in trial.members) + trial.lost
    else:
        raise Failed(f"the parent was to live on, and did not: {trial.last_error()}")
    trial.parent.send(signal.SIGKILL)


def _look_for_survivors(trial: Trial, outcome: Outcome, patience: Patience) -> None:
    trial.watch_deaths([trial.parent], patience.parent)
    if trial.parent.died is None:
        outcome.waits = True
    else:
        trial.watch_deaths(trial.members, patience.child)
        trial.watch_deaths([member for member in trial.members if member.died is None and doomed(member.pid)], DOOMED)
        outcome.survivors = sum(member.died is None for member in trial.members)
        times = [member.died - trial.parent.died for member in trial.members if member.died is not None]
        if times and not outcome.survivors:
            outcome.late = max(times)
        outcome.others = max(times, default=0)
    outcome.started = len(trial.members) + trial.lost

"""What the demo does: the programs, one a row, and the faults, one a column."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Kind = Literal["article", "folk", "orphanguard"]


@dataclass(frozen=True)
class Row:
    name: str
    program: str  #: its file, and its arguments
    kind: Kind


ROWS = (
    Row("multiprocessing.Process", "plain.py", "article"),
    Row("  daemon=True", "daemonic.py", "article"),
    Row("  SIGTERM handler set after", "handler_after.py", "article"),
    Row("  SIGTERM handler set before", "handler_before.py", "article"),
    Row("  SIGTERM handler with killpg", "killpg.py", "article"),
    Row("multiprocessing.Pool", "pool.py", "article"),
    Row("PR_SET_PDEATHSIG in each child", "pdeathsig.py", "folk"),
    Row("orphanguard.Process fork", "guarded.py fork", "orphanguard"),
    Row("orphanguard.Process spawn", "guarded.py spawn", "orphanguard"),
    Row("orphanguard.Process forkserver", "guarded.py forkserver", "orphanguard"),
    Row("orphanguard.Pool", "guarded_pool.py", "orphanguard"),
)


class Fault(Enum):
    """What is done to a program; the value is how the demo calls it."""

    TERM_PARENT = "SIGTERM to the parent"
    KILL_PARENT = "kill -9 of the parent"
    TERM_CHILD = "SIGTERM to one child"
    THREAD_ENDS = "starting thread ends"

    @property
    def ends_parent(self) -> bool:
        """If it does, no child should be left; if not, no other child should die."""
        return self in (Fault.TERM_PARENT, Fault.KILL_PARENT)


@dataclass
class Outcome:
    children: int  #: those that the fault was not aimed at
    left: int  #: how many of them live at the end
    hit_ended: bool  #: whether what the fault was aimed at did end
    parent_lives: bool
    parent_killed: bool  #: by a signal; without one the parent may have ended because its children had
    after: float = 0.0  #: seconds from the fault to the last death that was seen after it

    @property
    def killed(self) -> int:
        return self.children - self.left


@dataclass
class Failure:
    """The program could not be started, or not observed."""

    reason: str


Outcomes = dict[Fault, "Outcome | Failure"]

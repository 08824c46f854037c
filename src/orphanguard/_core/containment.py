"""The containments: what can hold a tree together under ``tree=``, and what each one covers.

A new containment needs a row in `CONTAINMENTS`, its name in `Containment`, and its part in csrc/supervisor/contain.c.
Everything else in this package reads the table.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Containment = Literal["subreaper", "cgroup", "pidns"]
    Tree = bool | Containment

_KILLED = "the supervisor is killed: the child dies, what it has started survives"
_ROOT = "a descendant takes user ids that the supervisor may not signal (root's)"

#: From the one that needs nothing of the host to the one that contains best: what `orphanguard doctor` says that it
#: covers, and the rows of `Guard.defeated_by`. ``tree=True`` takes the first.
CONTAINMENTS: dict[Containment, tuple[str, tuple[str, ...]]] = {
    "subreaper": ("the tree, unless the supervisor itself is killed", (_KILLED, _ROOT)),
    "cgroup": ("the tree, setuid programs of root included, unless the supervisor itself is killed", (_KILLED,)),
    "pidns": ("the tree, also when the supervisor itself is killed", ()),
}
DEFAULT: Containment = "subreaper"

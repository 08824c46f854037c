"""The parent dies while a child of plain subprocess is between fork and exec.

That child has copies of all fds of the parent, and goes on later.
"""

from __future__ import annotations

import pytest

from tests.support.holders import survivors
from tests.support.kernel import injected, strace

pytestmark = strace

STANDARD = {
    "cwd": "standard.Popen(SLEEP, cwd='/')",
    "close_fds=False": "standard.Popen(SLEEP, cwd='/', close_fds=False)",
    "pass_fds above": "standard.Popen(SLEEP, cwd='/', pass_fds=[os.dup2(1, 900)])",
}
MANY = "--files=14000"
ONE_BY_ONE = ("close_range:error=EPERM",)
# All ways with few fds; with many, which take seconds, each way once.
CASES = [(which, more, ()) for which in STANDARD for more in ((), ONE_BY_ONE)]
CASES += [(which, () if which == "close_fds=False" else ONE_BY_ONE, (MANY,)) for which in STANDARD]


def named(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else {(): "", ONE_BY_ONE: "one by one", (MANY,): "14,000 fds"}[value]


@pytest.mark.usefixtures("many_fds")
@pytest.mark.parametrize(("which", "more", "files"), CASES, ids=named)
def test_plain_subprocess(which: str, more: tuple[str, ...], files: tuple[str, ...]) -> None:
    """strace stops the child in chdir(). Python 3.10 closes fds one by one, and so does each Python where close_range
    is refused."""
    options = (f"--start={STANDARD[which]}", *files)
    assert survivors("tether", "std", "SIGCONT", *options, wrapper=stopped("chdir", *more)) == []


@pytest.mark.parametrize("more", [(), ONE_BY_ONE], ids=["", "one by one"])
@pytest.mark.parametrize("which", STANDARD)
def test_plain_subprocess_before(which: str, more: tuple[str, ...]) -> None:
    """The control: the write end is in the parent's table of fds."""
    left = survivors("table", "std", "SIGCONT", f"--start={STANDARD[which]}", wrapper=stopped("chdir", *more))
    assert "younger" in left


def stopped(call: str, *more: str) -> tuple[str, ...]:
    """The first such call stops the child, until the test sends SIGCONT."""
    return injected(f"{call}:signal=SIGSTOP:when=1", *more)

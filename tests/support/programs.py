"""Every form in which `Popen` and its like start a program, as expressions for actors/programs.py."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from tests.support.witness import Parent, Watched, parent

FORMS = {
    "Popen": "Popen(SLEEP)",
    "a path": "Popen('/bin/sleep 1000'.split())",
    "run": "blocked(run, SLEEP)",
    "call": "blocked(call, SLEEP)",
    "check_output": "blocked(check_output, SLEEP)",
    "shell": "Popen('exec sleep 1000', shell=True)",
    "pipes": "Popen(SLEEP, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)",
    "pass_fds": "Popen(SLEEP, pass_fds=[os.open('/dev/null', os.O_RDONLY)])",
    "close_fds=False": "Popen(SLEEP, close_fds=False)",
    "start_new_session": "Popen(SLEEP, start_new_session=True)",
    "preexec_fn": "Popen(SLEEP, preexec_fn=os.getpid)",
    "preexec_fn, close_fds=False": "Popen(SLEEP, preexec_fn=os.getpid, close_fds=False)",
}


if sys.version_info >= (3, 11):
    FORMS["process_group"] = "Popen(SLEEP, process_group=0)"


if os.geteuid() == 0:
    FORMS |= {
        "user": "Popen(SLEEP, user=65534, group=65534, extra_groups=[65534])",
        "group": "Popen(SLEEP, group=65534)",
        "user, close_fds=False": "Popen(SLEEP, user=65534, close_fds=False)",
        "user, preexec_fn": "Popen(SLEEP, user=65534, preexec_fn=os.getpid)",
        "uid dropped in preexec_fn": "Popen(SLEEP, preexec_fn=lambda: os.setresuid(65534, 65534, 65534))",
    }


SIGTERM = {"death_signal": "Popen(SLEEP, death_signal=signal.SIGTERM)"}  # sleep handles none


@contextlib.contextmanager
def programs(
    thread: str, *expressions: str, library: str = "guarded", extra: tuple[str, ...] = (), **options
) -> Iterator[tuple[Parent, Watched]]:
    with parent("programs", *extra, thread, library, *expressions, **options) as running:
        yield running, running.watch(running.read()["children"])


def names(children: Watched, forms: dict[str, str], pids: list[int]) -> list[str]:
    return [form for form, pid in zip(forms, children.fds, strict=True) if pid in pids]


DROP = "become()"

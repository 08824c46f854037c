"""Signals by their names, wherever a signal is taken, as `orphanguard run --signal` takes them."""

from __future__ import annotations

import asyncio
import signal
import subprocess

import pytest

import orphanguard
from orphanguard._core import forking, guard, lifelines, spawning
from tests.support.proc import DEATH, LIFE
from tests.support.trees import RUN
from tests.support.witness import parent

WAYS = {
    "Popen": 'Popen(SLEEP, death_signal="term")',
    "preexec_fn": 'Popen(SLEEP, death_signal="SIGTERM", preexec_fn=os.getpid)',
    "tree": 'Popen(SLEEP, death_signal="TERM", tree=True)',
    "run": 'blocked(run, SLEEP, death_signal="Sigterm")',
}


@pytest.mark.parametrize("way", WAYS)
def test_the_signal_comes(way: str) -> None:
    with parent("programs", "main", "guarded", WAYS[way]) as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


def test_without_a_guard_none_comes() -> None:
    with parent("programs", "main", "unguarded", WAYS["Popen"]) as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert len(children.alive(within=LIFE)) == 1


def test_die_with_parent() -> None:
    with parent("dying", "fork", "main", "lambda: orphanguard.die_with_parent('usr1')") as running:
        children = running.watch(running.read()["children"])
        running.kill()
        assert children.alive(within=DEATH) == []


@pytest.mark.parametrize("how", [{}, {"preexec_fn": int}, {"tree": True}], ids=str)
def test_what_is_armed(how: dict) -> None:
    with orphanguard.Popen(["sleep", "1000"], death_signal="sigusr1", **how) as process:
        assert process.guard.signal == signal.SIGUSR1
        process.kill()


@pytest.mark.parametrize("name", signal.Signals.__members__)
def test_every_name_as_on_the_command_line(name: str) -> None:
    for spelt in (name, name.lower(), name[3:], name[3:].lower()):
        assert guard.signal_number(spelt) == signal.Signals[name]
    done = subprocess.run([RUN, f"--signal={name}", "--verbose", "true"], capture_output=True, text=True, check=True)
    assert "no such signal" not in done.stderr


BAD = [
    *[(value, ValueError) for value in ("", "SIG", "SIGSIGTERM", "TERM ", "SIGNONE", "SIG_DFL", "9", "-9", 0, -1, 65)],
    *[(value, TypeError) for value in (9.0, 40.5, True, b"TERM", [], (9,), object)],
]


@pytest.mark.parametrize(("value", "error"), BAD, ids=repr)
def test_what_is_no_signal(value: object, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    for module, start in ((spawning, "spawn"), (forking, "fork_armed"), (lifelines, "open")):
        monkeypatch.setattr(module, start, None)  # no start gets so far
    for more in ({}, {"preexec_fn": int}, {"tree": True}, {"grace": 1}, {"guard": False}):
        with pytest.raises(error, match="signal"):
            orphanguard.Popen(["true"], death_signal=value, **more)
    with pytest.raises(error, match="signal"):
        orphanguard.run(["true"], death_signal=value)
    with pytest.raises(error, match="signal"):
        asyncio.run(orphanguard.create_subprocess_exec("true", death_signal=value))
    with pytest.raises(error, match="signal"):
        orphanguard.die_with_parent(value)


def test_die_with_parent_takes_no_absent_signal() -> None:
    with pytest.raises(TypeError, match="signal"):
        orphanguard.die_with_parent(None)

"""``inspect.signature`` and ``help`` show real parameters of all public functions, and the import pays nothing for
that."""

from __future__ import annotations

import ast
import asyncio
import concurrent.futures
import inspect
import multiprocessing
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import orphanguard

OURS = ("death_signal", "guard", "tree", "grace")
OF_POPEN = tuple(inspect.signature(subprocess.Popen).parameters)
BORROWED = ("run", "call", "check_call", "check_output")
IN_ASYNCIO = ("create_subprocess_exec", "create_subprocess_shell")


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(orphanguard, name)).parameters)


def named(function: object) -> list[str]:
    return [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


@pytest.mark.parametrize("name", [name for name in orphanguard.__all__ if callable(getattr(orphanguard, name))])
def test_no_kwargs(name: str) -> None:
    if isinstance(getattr(orphanguard, name), type) and issubclass(getattr(orphanguard, name), Exception):
        pytest.skip("an exception, as OSError is one")
    shown = parameters(name).values()
    assert not [each for each in shown if each.kind == each.VAR_KEYWORD]
    assert [each.name for each in shown if each.kind == each.VAR_POSITIONAL] in (
        [],
        ["args"] if name == "create_subprocess_exec" else [],
    )


def test_popen() -> None:
    shown = parameters("Popen")
    assert tuple(shown) == (*OF_POPEN, *OURS)
    standard = inspect.signature(subprocess.Popen).parameters
    for name in OF_POPEN:
        assert (shown[name].kind, shown[name].default) == (standard[name].kind, standard[name].default)
    assert all(shown[name].kind == inspect.Parameter.KEYWORD_ONLY for name in OURS)


@pytest.mark.parametrize("name", BORROWED)
def test_what_is_built_on_popen(name: str) -> None:
    shown = parameters(name)
    own = named(getattr(subprocess, name))
    assert set(shown) >= {*OURS, *own, "timeout"}
    assert set(OF_POPEN) - set(shown) == ({"stdout"} if name == "check_output" else set())


@pytest.mark.parametrize("name", IN_ASYNCIO)
def test_in_asyncio(name: str) -> None:
    shown = parameters(name)
    assert set(shown) >= {*OURS, *OF_POPEN} - {"args"}
    standard = inspect.signature(getattr(asyncio, name)).parameters
    assert list(shown)[:2] == list(standard)[:2]
    assert shown["limit"].default == standard["limit"].default
    assert shown["shell"].default is (name == "create_subprocess_shell")


def test_multiprocessing() -> None:
    assert list(parameters("Pool")) == list(inspect.signature(multiprocessing.Pool).parameters)
    standard = list(inspect.signature(multiprocessing.Process).parameters)
    assert list(parameters("Process")) == [*standard, "tree", "grace"]
    standard = list(inspect.signature(concurrent.futures.ProcessPoolExecutor).parameters)
    assert list(parameters("ProcessPoolExecutor")) == standard


STUBS = ("subprocess.pyi", "asyncio.pyi", "multiprocessing/__init__.pyi")


@pytest.mark.parametrize("stub", STUBS)
def test_the_defaults_in_the_stubs(stub: str) -> None:
    """stubtest does not compare the defaults of overloads."""
    seen = 0
    for node in ast.walk(ast.parse(Path(orphanguard.__path__[0], stub).read_text())):
        name = "Popen" if getattr(node, "name", "") == "__init__" else getattr(node, "name", "")
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or name not in orphanguard.__all__:
            continue
        shown, arguments = parameters(name), node.args
        positional = zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)
        for argument, default in [*positional, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]:
            if default is None or (argument.arg == "process_group" and sys.version_info < (3, 11)):
                continue
            assert ast.literal_eval(default) == shown[argument.arg].default, (name, argument.arg, node.lineno)
            seen += 1
    assert seen


def test_a_subclass_has_its_own() -> None:
    class Mine(orphanguard.Popen[bytes]):
        def __init__(self, word: str) -> None: ...

    class Another(orphanguard.Popen[bytes]): ...

    assert list(inspect.signature(Mine).parameters) == ["word"]
    assert list(inspect.signature(Another).parameters) == list(parameters("Popen"))


@pytest.mark.parametrize("name", ["Popen", *BORROWED, *IN_ASYNCIO])
def test_help(name: str) -> None:
    text = pydoc.plain(pydoc.render_doc(getattr(orphanguard, name)))
    assert "start_new_session=False" in text
    assert "tree: 'Tree' = False" in text
    assert "**kw" not in text.split("Methods inherited")[0].split("Static methods")[0]


def test_the_source_is_found() -> None:
    assert "death_signal, guard, tree, grace" in inspect.getsource(orphanguard.Popen.__init__)
    assert "death_signal" in inspect.getsource(orphanguard.Popen)
    assert inspect.getsource(orphanguard.run) == inspect.getsource(subprocess.run)


def test_nothing_is_loaded_for_it() -> None:
    program = "import sys; import {0}subprocess; print('inspect' in sys.modules)"

    def loads_inspect(package: str) -> str:
        command = [sys.executable, "-c", program.format(package)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if loads_inspect("") == "True":
        pytest.skip("this Python's subprocess loads it")
    assert loads_inspect("orphanguard.") == "False"

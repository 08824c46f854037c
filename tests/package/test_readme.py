"""README's own code: each line of "What you have, what you write", and each block, taken out of the text and run.

A line runs in a parent that is killed. Its control is the same line unguarded. pytest and http.server are real, and so
are PyTorch and npm where they are installed. uv, gunicorn, jupyter, npx and chromium are small stand-ins, which start
what the real ones do: a process in a session of its own, and another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.proc import DEATH, LIFE, children_of, wait_for
from tests.support.witness import ROOT, Token

TEXTS = {name: (ROOT / name).read_text() for name in ("README.md", "docs/usage.md")}
BLOCKS = [block for text in TEXTS.values() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
LINES = [line for text in TEXTS.values() for line in re.findall(r"^    \$ (.*)", text, re.MULTILINE)]
TABLE = TEXTS["README.md"].partition("| you have | you write |\n|---|---|\n")[2].partition("\n\n")[0]
CELLS = {have: code.strip("`") for have, code in re.findall(r"^\| (.*) \| (`.*`) \|$", TABLE, re.MULTILINE)}

STAND_IN = "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1000\n:\n"
PROGRAM = """
import multiprocessing, orphanguard, subprocess, time
{before}
if __name__ == "__main__":
    {cell}
    {after}
    time.sleep(1000)
"""
CLIENT = """
import subprocess, time
subprocess.Popen({command}, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(1000)
"""
BROWSES = """
import subprocess, time

def test_a_page():
    subprocess.Popen(["chromium"])
    time.sleep({seconds})
"""


@dataclass(frozen=True)
class Row:
    """How a line of the table is tried: what it needs around it, and the same without orphanguard."""

    unguarded: tuple[str, str]  #: what is replaced by what
    before: str = ""
    after: str = ""
    processes: int = 0  #: so many besides the parent; 0: the line starts the stand-in
    weaker: str = ""  #: without this the guard is not enough


PREFIX = ("orphanguard-run -- ", "")
ROWS = {
    "`Pool`": Row(
        ("from orphanguard import", "import"),
        after="pool, manager = multiprocessing.Pool(2), multiprocessing.Manager()\n"
        "    process = multiprocessing.Process(target=time.sleep, args=(1000,))\n    process.start()",
        processes=4,
    ),
    "ProcessPoolExecutor": Row(
        ("from orphanguard", "from concurrent.futures"),
        after="executor = ProcessPoolExecutor(2)\n    sleeps = [executor.submit(time.sleep, 1000) for _ in range(2)]",
        processes=2,
    ),
    "holds a port": Row(("orphanguard.Popen", "subprocess.Popen"), processes=1),
    "npm": Row(('orphanguard.Popen("npm run serve"', 'subprocess.Popen("npm run serve"'), weaker=", tree=True"),
    "uv run": Row(('orphanguard.run(["uv"', 'subprocess.run(["uv"'), weaker=", tree=True"),
    "DataLoader": Row(
        ('=orphanguard.get_context("fork")', '="fork"'),
        before="from torch.utils.data import DataLoader\n"
        "class Data(list):\n    def __getitem__(self, index):\n        time.sleep(1000)\ndata = Data(range(8))",
        after="batches = iter(loader)",
        processes=2,
    ),
    "can't edit": Row(("orphanguard run -- ", "")),
    "pytest": Row(PREFIX),
    "gunicorn": Row(PREFIX),
    "Jupyter": Row(PREFIX),
    "MCP": Row(('"orphanguard-run", "args": ["--", "npx", ', '"npx", "args": [')),
}
APART = {"entry point", "Ctrl-C"}  # have a test of their own


def cell_of(word: str) -> str:
    (code,) = [code for have, code in CELLS.items() if word in have]
    return code


def test_each_line_of_the_table_is_run() -> None:
    assert len(CELLS) == len(TABLE.splitlines()) == len(ROWS) + len(APART)
    assert len({cell_of(word) for word in {*ROWS, *APART}}) >= len(CELLS) - 1  # one program, hit in two ways


def test_each_shell_line_is_run() -> None:
    # The first three need a network and a fresh machine: tools/fresh-machine.sh.
    assert [line.split()[0] for line in LINES] == ["sudo", "python3", "pip", "python", "pgrep", "orphanguard"]


@pytest.fixture
def where(tmp_path: Path) -> Iterator[tuple[Path, Token]]:
    """A folder as README has it, with the stand-ins on the PATH; and the mark of all that is started there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    names = ["uv", "gunicorn", "jupyter", "npx", "chromium", *([] if shutil.which("npm") else ["npm"])]
    for path in [*(programs / name for name in names), tmp_path / "program"]:
        path.write_text(STAND_IN)
        path.chmod(0o755)
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"serve": "chromium"}}))
    (tmp_path / "test_page.py").write_text(BROWSES.format(seconds=1000))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    if Path(sys.prefix, "pyvenv.cfg").exists():
        (tmp_path / ".venv" / "pyvenv.cfg").symlink_to(Path(sys.prefix, "pyvenv.cfg"))
        (tmp_path / ".venv" / "lib").symlink_to(Path(sys.prefix, "lib"))
    token = Token()
    token.environment = {name: value for name, value in token.environment.items() if not name.startswith("PYTEST")}
    token.environment |= {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "npm_config_update_notifier": "false",
    }
    yield tmp_path, token
    while token.holders():
        token.clean_up()


def command_of(word: str, cell: str, folder: Path) -> list[str]:
    """The parent: a Python that runs the cell, a shell, or a client that has it in its configuration."""
    row = ROWS[word]
    if cell.startswith("$ "):
        return ["sh", "-c", f"{cell[2:]}; :"]
    if cell.startswith("{"):
        found = json.loads(cell)
        program = CLIENT.format(command=[found["command"], *found["args"]])
    else:
        program = PROGRAM.format(before=row.before, cell=cell, after=row.after)
    (folder / "parent.py").write_text(program)
    return [sys.executable, "parent.py"]


def sleepers(token: Token) -> list[int]:
    found = []
    for pid in token.holders():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                found.append(pid)
    return found


def left(word: str, cell: str, where: tuple[Path, Token], within: float) -> list[int]:
    """The pids that are left of what the cell has started, when its parent has been killed."""
    folder, token = where
    parent = subprocess.Popen(
        command_of(word, cell, folder), cwd=folder, env=token.environment, stdin=-1, stdout=subprocess.DEVNULL
    )
    try:
        if processes := ROWS[word].processes:
            wait_for(lambda: len(token.holders()) > processes)
        else:
            wait_for(lambda: len(sleepers(token)) >= 2)
        if "http.server" in cell:
            wait_for(lambda: listens(port_of(cell)))
    finally:
        parent.kill()
        parent.communicate()
    return token.survivors(within)


def port_of(cell: str) -> int:
    return int(re.findall(r'"(\d+)"', cell)[0])


def listens(port: int) -> bool:
    with socket.socket() as ours:
        return ours.connect_ex(("127.0.0.1", port)) == 0


def as_it_can_be_run(word: str) -> str:
    """The cell, on a port that is free."""
    if word == "DataLoader" and find_spec("torch") is None:
        pytest.skip("torch is not installed (pip install torch)")
    cell = cell_of(word)
    if "8000" in cell:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cell = cell.replace("8000", str(free.getsockname()[1]))
    return cell


@pytest.mark.parametrize("word", ROWS)
def test_what_you_write(word: str, where: tuple[Path, Token]) -> None:
    cell = as_it_can_be_run(word)
    assert left(word, cell, where, within=DEATH) == []
    if "http.server" in cell:
        wait_for(lambda: not listens(port_of(cell)))


@pytest.mark.parametrize("word", ROWS)
def test_what_you_had(word: str, where: tuple[Path, Token]) -> None:
    cell = as_it_can_be_run(word)
    assert ROWS[word].unguarded[0] in cell
    assert left(word, cell.replace(*ROWS[word].unguarded).replace(", tree=True", ""), where, within=LIFE) != []


@pytest.mark.parametrize("word", [word for word, row in ROWS.items() if row.weaker])
def test_without_tree_it_is_not_enough(word: str, where: tuple[Path, Token]) -> None:
    assert left(word, cell_of(word).replace(ROWS[word].weaker, ""), where, within=LIFE) != []


@pytest.mark.parametrize("guarded", [True, False])
def test_pytest_ends_and_chromium_does_too(guarded: bool, where: tuple[Path, Token]) -> None:
    folder, token = where
    (folder / "test_page.py").write_text(BROWSES.format(seconds=0.2))
    line = cell_of("pytest")[2:]
    command = shlex.split(line if guarded else line.replace(*PREFIX))
    done = subprocess.run(
        command, cwd=folder, env=token.environment, stdout=subprocess.DEVNULL, timeout=DEATH, check=False
    )
    assert done.returncode == 0
    assert (token.survivors(DEATH if guarded else LIFE) == []) == guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_ctrl_c(guarded: bool, where: tuple[Path, Token]) -> None:
    folder, token = where
    line = cell_of("Ctrl-C")[2:]
    ours, terminal = pty.openpty()
    shell = subprocess.Popen(
        ["setsid", "--ctty", "sh", "-c", line if guarded else line.replace(*PREFIX)],
        cwd=folder, env=token.environment, stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    try:
        wait_for(lambda: len(sleepers(token)) == 2)
        os.write(ours, b"\x03")
        shell.wait(timeout=DEATH)
        assert (token.survivors(DEATH if guarded else LIFE) == []) == guarded
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
        os.close(terminal)


AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
NAMESPACE = ["unshare", *AS_ROOT, "--pid", "--fork", "--mount-proc"]


@pytest.mark.parametrize("guarded", [True, False])
def test_entry_point(guarded: bool, where: tuple[Path, Token]) -> None:
    """A container is told to end by a SIGTERM to its process 1. Without a handler process 1 ignores it."""
    folder, token = where
    if subprocess.run([*NAMESPACE, "true"], stderr=-1, check=False).returncode:
        pytest.skip("this host gives us no pid namespace")
    entry = json.loads(cell_of("entry point").removeprefix("ENTRYPOINT "))
    command = entry if guarded else entry[entry.index("--") + 1 :]
    container = subprocess.Popen([*NAMESPACE, "--kill-child", *command], cwd=folder, env=token.environment)
    try:
        wait_for(lambda: len(sleepers(token)) == 2)
        (init,) = children_of(container.pid)
        os.kill(init, signal.SIGTERM)
        assert (token.survivors(DEATH if guarded else LIFE) == []) == guarded
    finally:
        container.kill()
        container.wait()


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks(block: str, where: tuple[Path, Token]) -> None:
    folder, token = where
    (folder / "block.py").write_text(block)
    command = [sys.executable, "block.py"]
    done = subprocess.run(command, cwd=folder, env=token.environment, stdout=-1, timeout=DEATH, check=False)
    assert done.returncode == (-signal.SIGKILL if "SIGKILL" in block else 0)
    assert token.survivors(DEATH) == []


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="pgrep is not installed")
@pytest.mark.parametrize("guarded", [True, False])
def test_the_example(guarded: bool, where: tuple[Path, Token]) -> None:
    """Runs the example as typed, and looks at what it prints and whom pgrep finds. Other users may run an example.py
    too."""
    folder, token = where
    example = BLOCKS[0] if guarded else BLOCKS[0].replace("from orphanguard", "from multiprocessing")
    assert BLOCKS[0].startswith("# example.py\n")
    (folder / "example.py").write_text(example)
    run, look = (shlex.split(line, comments=True) for line in LINES[3:5])
    options = {"cwd": folder, "env": token.environment, "timeout": DEATH}
    with open(folder / "said", "w") as said:  # a file, since whatever is left would hold a pipe open
        assert subprocess.run(run, stdout=said, check=False, **options).returncode == -signal.SIGKILL
    assert re.fullmatch(r"parent \d+ children \d+ \d+ \d+\n", (folder / "said").read_text())
    if guarded:
        assert token.survivors(DEATH) == []
    found = subprocess.run(look, stdout=subprocess.PIPE, check=False, **options).stdout.split()
    assert sum(token.holds(int(pid)) for pid in found) == (0 if guarded else 3)


@pytest.mark.parametrize("guarded", [True, False])
def test_orphanguard_run(guarded: bool, where: tuple[Path, Token]) -> None:
    folder, token = where
    line = LINES[5] if guarded else LINES[5].removeprefix("orphanguard run -- ")
    done = subprocess.run(shlex.split(line), cwd=folder, env=token.environment, timeout=DEATH, check=False)
    assert done.returncode == 0
    assert (token.survivors(DEATH if guarded else LIFE) == []) == guarded


@pytest.mark.parametrize("text", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links(text: str) -> None:
    for link in re.findall(r'(?:\]\(|(?:src|srcset)=")([^)"]+)', (ROOT / text).read_text()):
        path, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = (ROOT / text).parent / path if path else ROOT / text
        assert target.exists(), link
        if heading:
            found = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in target.read_text().splitlines()]
            assert heading in [line.replace(" ", "-") for line in found], link

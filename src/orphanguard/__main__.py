"""The command line: ``orphanguard run ...`` and ``orphanguard doctor``, also as ``python -m orphanguard``.

``run`` executes the C program orphanguard-run in this process, so no Python stays between the caller and the command.
If the caller dies while Python imports what is below, nothing is started. Needs the C programs of ``_bin``.
"""

from __future__ import annotations

import os
import signal
import sys

# Read before anything else runs. orphanguard-run gets this pid, and starts nothing if that process is gone by then.
PARENT = os.getppid()

USAGE = """\
Usage: orphanguard run [OPTIONS] [--] COMMAND [ARG...]
       orphanguard doctor [--json]
       orphanguard --version | --help

run     Runs COMMAND and ends everything that it has started when COMMAND ends, or when the process that called
        this dies, by kill -9 included. Its options: orphanguard run --help. It is replaced by the C program
        orphanguard-run, which scripts may call directly: that saves the start of Python.
doctor  Says what this host can guarantee, what it can't, and why.
"""


def run(arguments: list[str]) -> None:
    """Executes orphanguard-run with ``arguments`` in this process, and returns only by an OSError.

    `GuardUnavailable` if the file of orphanguard-run can't be executed.
    """
    from ._bin import RUN
    from ._core.errors import not_executable

    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and an exec would hand that on to the command
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    parent = [f"--parent-pid={PARENT}"] if PARENT else []  # 0: the parent is outside our pid namespace
    try:
        os.execv(RUN, ["orphanguard-run", *parent, *arguments])
    except OSError as error:
        raise not_executable(RUN, error, " ".join(arguments)[:80]) from None


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line, and returns its exit status: 125 if orphanguard itself has failed.

    ``arguments``: without the name of the program. None: those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command == "run":
        try:
            run(rest)
        except OSError as error:
            print(f"orphanguard: {error}", file=sys.stderr)
            return 125
    if command == "doctor":
        from .doctor import main as doctor

        return doctor(rest)
    if command in ("--version", "-V", "version"):
        from . import __version__

        print(f"orphanguard {__version__}")
    elif command in ("--help", "-h", "help"):
        print(USAGE, end="")
    else:
        print(f"orphanguard: no such command: {command!r}; see --help" if command else USAGE.rstrip(), file=sys.stderr)
        return 125
    return 0


if __name__ == "__main__":
    sys.exit(main())

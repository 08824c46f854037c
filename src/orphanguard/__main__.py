"""The command line: ``orphanguard run ...``, ``orphanguard doctor``; as ``python -m orphanguard`` too."""

from __future__ import annotations

import os
import signal
import sys

# Before anything else: a parent that dies while Python starts up must be missed by the program that replaces us.
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
    """Becomes ``orphanguard-run``."""
    from ._bin import RUN
    from ._core.errors import not_executable

    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, the command must not
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    parent = [f"--parent-pid={PARENT}"] if PARENT else []  # 0: it is outside our pid namespace
    try:
        os.execv(RUN, ["orphanguard-run", *parent, *arguments])
    except OSError as error:
        raise not_executable(RUN, error, " ".join(arguments)[:80]) from None


def main(arguments: list[str] | None = None) -> int:
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

"""The floor under a start: floor.c, compiled."""

import subprocess
from pathlib import Path


def compile_floor(directory):
    """The path of the program."""
    program = Path(directory, "floor")
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
    return program

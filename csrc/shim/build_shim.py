"""Tells cffi how to build ``orphanguard._core._shim`` (API mode: a C compiler checks every declaration)."""

import os
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent
# setuptools wants paths that are relative to setup.py and use "/". The sections of shim.h name the sources.
SOURCES = [f"csrc/shim/{name}" for name in re.findall(r"(?m)^/\* --- (\w+\.c)\b", (HERE / "shim.h").read_text())]
HEADERS = [f"csrc/{path.relative_to(CSRC)}" for path in sorted(CSRC.rglob("[!.]*.h"))]

# ORPHANGUARD_CFLAGS: strict warnings as errors in CI, sanitizers; never on a user's machine.
EXTRA = os.environ.get("ORPHANGUARD_CFLAGS", "").split()

ffibuilder = FFI()
ffibuilder.cdef((HERE / "shim_api.h").read_text())
ffibuilder.set_source(
    "orphanguard._core._shim",
    '#include "shim_api.h"',
    sources=SOURCES,
    include_dirs=["csrc", "csrc/shim", "csrc/launcher"],
    depends=HEADERS,
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", *EXTRA],
    extra_link_args=["-pthread", *[flag for flag in EXTRA if flag.startswith("-fsanitize")]],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)

"""Tells cffi how to build ``orphanguard._shim`` (API mode: a C compiler checks every declaration)."""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
# setuptools wants paths that are relative to setup.py and use "/".
SOURCES = ["fds.c", "tether.c", "lifeline.c", "arm.c", "spawn.c", "spawn_child.c", "credentials.c", "pidfd.c"]

# ORPHANGUARD_CFLAGS: strict warnings as errors in CI, sanitizers; never on a user's machine.
EXTRA = os.environ.get("ORPHANGUARD_CFLAGS", "").split()

ffibuilder = FFI()
ffibuilder.cdef((HERE / "shim_api.h").read_text())
ffibuilder.set_source(
    "orphanguard._shim",
    '#include "shim_api.h"',
    sources=[f"csrc/{name}" for name in SOURCES],
    include_dirs=["csrc"],
    depends=["csrc/shim.h", "csrc/shim_api.h", "csrc/launcher/launcher.h", "csrc/kernel.h"],
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", *EXTRA],
    extra_link_args=["-pthread", *[flag for flag in EXTRA if flag.startswith("-fsanitize")]],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)

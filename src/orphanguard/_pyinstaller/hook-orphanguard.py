"""Tells PyInstaller what it can't see: modules that are loaded on first use, or named in source text for a child, and
the programs. So a frozen program has all parts of orphanguard."""
# ruff: noqa: N999 (PyInstaller's name)

from PyInstaller.utils.hooks import collect_submodules  # type: ignore[import-untyped, import-not-found, unused-ignore]

from orphanguard._bin import LAUNCH, RUN

hiddenimports = ["_cffi_backend", *collect_submodules("orphanguard", lambda name: "_pyinstaller" not in name)]
binaries = [(program, "orphanguard/_bin") for program in (RUN, LAUNCH)]
